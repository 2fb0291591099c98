"""Attention during generation: per group of equal rows, over what earlier stages left.

Shapes: R rows of a group, n tokens of this stage, m cached ones, T text tokens, H heads, c width
of a head; queries, keys and values arrive packed as [..., n, H, c].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.groups import Group, GroupRun, text_rows
from infinity_backend.packing import Packing
from infinity_backend.state import gather_rows


def attend_cache(
    runs: list[GroupRun],
    packing: Packing,
    block: int,
    scale: float,
    measure: bool,
    q: Tensor,
    k: Tensor,
    v: Tensor,
) -> Tensor:
    """Self-attention over all earlier stages and this one, without any mask.

    The new keys and values are appended to each group's lists, if it keeps them; with `measure`
    the entropy of each token's attention replaces the group's.
    """
    outputs = []
    unpacked = (packing.unpack(part) for part in (q, k, v))
    for run, *parts in zip(runs, *unpacked, strict=True):
        query, key, value = (part.transpose(1, 2) for part in parts)  # [R, H, n, c]
        if run.keeps:
            run.keys.append(run.by_branch(key.contiguous()))
            run.values.append(run.by_branch(value.contiguous()))
        past_keys, past_values = _past(run.group, block)
        key = torch.cat([*past_keys, key], dim=2)
        value = torch.cat([*past_values, value], dim=2)
        if measure:
            out, run.entropy = attention_and_entropy(query, key, value, scale)
            run.measured = True
        else:
            out = F.scaled_dot_product_attention(query, key, value, scale=scale)
        outputs.append(out.transpose(1, 2))
    return packing.pack(outputs)


def _past(group: Group, block: int) -> tuple[list[Tensor], list[Tensor]]:
    """Cached keys and values of one block, one [R, H, m, c] per earlier stage."""
    keys, values = [], []
    for runs in group.history:
        keys.append(gather_rows(runs, lambda chunk: chunk.keys[block], group.branches))
        values.append(gather_rows(runs, lambda chunk: chunk.values[block], group.branches))
    return [k.flatten(0, 1) for k in keys], [v.flatten(0, 1) for v in values]


def attention_and_entropy(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention [R, H, n, c], and the entropy in nats of each query's weights [R, H, n].

    Head by head, so that no more than one head's weights are held.
    """
    outputs, entropies = [], []
    for head in range(q.shape[1]):
        scores = (q[:, head] @ k[:, head].transpose(1, 2)).float() * scale  # [R, n, m]
        weights = scores.softmax(-1)
        outputs.append(weights.to(v.dtype) @ v[:, head])
        entropies.append(scores.logsumexp(-1) - (weights * scores).sum(-1))
    return torch.stack(outputs, 1), torch.stack(entropies, 1)


def attend_text(
    runs: list[GroupRun], packing: Packing, block: int, scale: float, q: Tensor
) -> Tensor:
    """Cross-attention of every row to its own text."""
    outputs = []
    for run, query in zip(runs, packing.unpack(q), strict=True):
        keys = text_rows(run.group, lambda chunk: chunk.keys[block])  # [R, H, T, c]
        values = text_rows(run.group, lambda chunk: chunk.values[block])
        out = F.scaled_dot_product_attention(
            query.transpose(1, 2), keys, values, attn_mask=run.text_mask, scale=scale
        )
        outputs.append(out.transpose(1, 2))
    return packing.pack(outputs)
