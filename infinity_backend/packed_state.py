"""Rows of a state as flat dictionaries of tensors, to be kept or written to disk, and back.

A row taken from a batch by `fork` still holds on to the chunks of the whole batch; a packed row has
just its own part of them. Unpacked rows of equal shapes share one chunk again, as if they had run
together.

Shapes: G rows, b branches, H heads, c head width, n tokens of a stage, T text tokens, C width,
d bits per latent cell, (h, w) and (H, W) grids, K blocks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.state import (
    AttentionChunk,
    GenerationState,
    KeyValueChunk,
    Ref,
    RestorationChunk,
    Row,
    TextChunk,
)

Packed = dict[str, Tensor]
_TEXT = ("mask", "pooled", "shared", "head", "keys", "values")


def pack(state: GenerationState) -> list[Packed]:
    """Each row as tensors on the CPU; the request itself is not in it."""
    return [_pack_row(state, number) for number in range(len(state.rows))]


def _pack_row(state: GenerationState, number: int) -> Packed:
    row = state.rows[number]
    text, index = row.text.chunk, row.text.index
    length = [of_branch[index] for of_branch in text.lengths]
    longest = max(length)
    packed = {
        "codes": state.codes[number],
        "previous_codes": state.previous_codes[number],
        "numbers": torch.tensor([row.entropy_bits, row.certainty], dtype=torch.float64),
        "counts": torch.tensor([int(state.stage[number]), state.num_stages, row.branches]),
        "text_lengths": torch.tensor(length),
        "text_mask": text.mask[:, index, :longest],  # [b, T]
        "text_pooled": text.pooled[:, index],  # [b, C]
        "text_shared": text.shared[:, index],
        "text_head": text.head[:, index],
        "text_keys": torch.stack([k[:, index, :, :longest] for k in text.keys]),  # [K, b, H, T, c]
        "text_values": torch.stack([v[:, index, :, :longest] for v in text.values]),
    }
    for place, ref in enumerate(row.history):
        chunk = ref.chunk
        packed[f"history_{place}_tokens"] = torch.tensor([chunk.tokens, chunk.kept])
        for kind, tensors in (("keys", chunk.keys), ("values", chunk.values)):
            own = [tensor[:, ref.index] for tensor in tensors]  # each [b, H, n, c]
            # blocks that keep different numbers of tokens are padded, and cut again
            most = max(tensor.shape[-2] for tensor in own)
            padded = [F.pad(tensor, (0, 0, 0, most - tensor.shape[-2])) for tensor in own]
            packed[f"history_{place}_{kind}"] = torch.stack(padded)  # [K, b, H, n, c]
        packed[f"history_{place}_lengths"] = torch.tensor([k.shape[-2] for k in chunk.keys])
    for stage, signs in enumerate(row.signs):
        if signs is not None:
            packed[f"signs_{stage}"] = signs
    if row.restoration is not None:
        restoration = row.restoration.chunk
        packed["restoration_grid"] = torch.tensor(restoration.grid)
        for block, updates in restoration.updates.items():
            parts = torch.stack([update[:, row.restoration.index] for update in updates])
            packed[f"restoration_{block}"] = parts  # [3, b, L, C]
    if row.attention is not None:
        packed["attention_grid"] = torch.tensor(row.attention.chunk.grid)
        packed["attention"] = row.attention.chunk.entropy[:, row.attention.index]
    return {name: tensor.detach().cpu().clone() for name, tensor in packed.items()}


def unpack(
    requests: Sequence[Any], packed: Sequence[Packed], device: torch.device
) -> GenerationState:
    """A state of these rows, in order; `packed[k]` belongs to `requests[k]`."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(packed):
        groups.setdefault(_shapes(row), []).append(number)
    states = [
        _unpack_alike([requests[k] for k in numbers], [packed[k] for k in numbers], device)
        for numbers in groups.values()
    ]
    order = [number for numbers in groups.values() for number in numbers]
    state = GenerationState.join(states)
    return state if order == sorted(order) else state.fork(np.argsort(order).tolist())


def _shapes(row: Packed) -> tuple[Any, ...]:
    """What rows must have in common to lie in one chunk; texts may differ in length."""
    tensors = [(n, t.shape) for n, t in sorted(row.items()) if not n.startswith("text_")]
    counts = [row[n].tolist() for n, _ in tensors if n.endswith(("counts", "tokens", "lengths"))]
    return tuple(tensors), str(counts)


def _unpack_alike(
    requests: Sequence[Any], packed: Sequence[Packed], device: torch.device
) -> GenerationState:
    def stacked(name: str, axis: int = 1) -> Tensor:
        return torch.stack([row[name] for row in packed], dim=axis).to(device)

    first = packed[0]
    stage, num_stages, branches = first["counts"].tolist()
    text = _text_chunk(packed, device)
    history: list[KeyValueChunk] = []
    while (place := f"history_{len(history)}") + "_tokens" in first:
        tokens, kept = first[f"{place}_tokens"].tolist()
        lengths = first[f"{place}_lengths"].tolist()
        keys, values = (
            tuple(
                block[..., :length, :]
                for block, length in zip(
                    stacked(f"{place}_{kind}", axis=2).unbind(0), lengths, strict=True
                )
            )
            for kind in ("keys", "values")
        )
        history.append(KeyValueChunk(keys, values, tokens, kept))
    restoration, attention = None, None
    if "restoration_grid" in first:
        names = [name for name in first if name.startswith("restoration_")]
        updates = {
            int(name.rpartition("_")[2]): stacked(name, axis=2).unbind(0)
            for name in names
            if name != "restoration_grid"
        }
        height, width = first["restoration_grid"].tolist()
        restoration = RestorationChunk(
            (height, width), {block: (u[0], u[1], u[2]) for block, u in updates.items()}
        )
    if "attention" in first:
        height, width = first["attention_grid"].tolist()
        attention = AttentionChunk((height, width), stacked("attention"))
    rows = []
    for index, row in enumerate(packed):
        entropy_bits, certainty = row["numbers"].tolist()
        found = (row.get(f"signs_{number}") for number in range(stage))
        rows.append(
            Row(
                text=Ref(text, index),
                branches=branches,
                history=tuple(Ref(chunk, index) for chunk in history),
                restoration=None if restoration is None else Ref(restoration, index),
                attention=None if attention is None else Ref(attention, index),
                signs=tuple(None if signs is None else signs.to(device) for signs in found),
                entropy_bits=entropy_bits,
                certainty=certainty,
            )
        )
    return GenerationState(
        requests=tuple(requests),
        stage=np.full(len(rows), stage, np.int64),
        num_stages=num_stages,
        rows=tuple(rows),
        codes=stacked("codes", axis=0),
        previous_codes=stacked("previous_codes", axis=0),
    )


def _text_chunk(packed: Sequence[Mapping[str, Tensor]], device: torch.device) -> TextChunk:
    longest = max(row["text_mask"].shape[-1] for row in packed)

    def stacked(name: str) -> Tensor:
        """Rows side by side, at axis 1 (2 of keys and values), padded to the longest text."""
        tensors = [row[f"text_{name}"] for row in packed]
        if name == "mask":
            tensors = [F.pad(tensor, (0, longest - tensor.shape[-1])) for tensor in tensors]
        if name in ("keys", "values"):
            tensors = [F.pad(tensor, (0, 0, 0, longest - tensor.shape[-2])) for tensor in tensors]
        axis = 2 if name in ("keys", "values") else 1
        return torch.stack(tensors, dim=axis).to(device)

    parts = {name: stacked(name) for name in _TEXT}
    lengths = torch.stack([row["text_lengths"] for row in packed], dim=1).tolist()
    return TextChunk(
        lengths=tuple(tuple(of_branch) for of_branch in lengths),
        mask=parts["mask"],
        pooled=parts["pooled"],
        shared=parts["shared"],
        head=parts["head"],
        keys=parts["keys"].unbind(0),
        values=parts["values"].unbind(0),
    )
