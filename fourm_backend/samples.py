"""Making samples: what is given, what is to be made, and what guidance leaves out.

A sample is a dictionary from modality to a dictionary of tensors: `tensor` with the ids or values,
`input_mask` [B, L] (False: the encoder sees it), `target_mask` [B, L] (False: to be made),
`decoder_attention_mask` [B, L]. Nothing here changes its argument.
"""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from base.errors import DataError
from fourm_backend.modalities import IMAGE_LIKE, TEXT_LIKE, Modality
from fourm_backend.packing import Sample

logger = logging.getLogger(__name__)

PAD, UNKNOWN, START, END = 0, 1, 2, 3
FIRST_SENTINEL, SECOND_SENTINEL = 5, 6  # [S_1] and [S_2]; [S_0] is 4


def empty_target(
    modality: Modality, rows: int, tokens: int | None = None, device: str = "cpu"
) -> dict[str, Tensor]:
    """A modality of which everything is to be made.

    Args:
        modality: which one.
        rows: B.
        tokens: length; None takes the modality's own.
        device: where.

    Raises:
        DataError: a length that does not fit the modality's grid.
    """
    count = modality.num_positions if tokens is None else tokens
    if modality.type in IMAGE_LIKE:
        if count != modality.num_positions:
            raise DataError(
                f"{count} tokens of {modality.name}; its grid {modality.grid} has "
                f"{modality.num_positions}"
            )
        return _unmade(rows, count, device)
    if modality.type in TEXT_LIKE:
        return _empty_text(torch.zeros(rows, max(count, 2), dtype=torch.int32, device=device))
    vectors = torch.zeros(rows, count, modality.channels, device=device)
    return _empty_vectors(vectors)


def _unmade(rows: int, count: int, device: str | torch.device) -> dict[str, Tensor]:
    everything = torch.ones(rows, count, dtype=torch.bool, device=device)
    ids = torch.zeros(rows, count, dtype=torch.int64, device=device)
    return {"tensor": ids, "input_mask": everything, "target_mask": ~everything}


def _empty_text(like: Tensor) -> dict[str, Tensor]:
    """The encoder sees [S_1]; the decoder begins with [S_1] and stops at [S_2]."""
    ids = torch.zeros_like(like)
    ids[:, :2] = FIRST_SENTINEL
    ids[:, -1] = SECOND_SENTINEL
    hidden = torch.ones_like(like, dtype=torch.bool)
    hidden[:, 0] = False
    return {
        "tensor": ids,
        "input_mask": hidden,
        "target_mask": ~hidden,
        "decoder_attention_mask": hidden.clone(),
    }


def _empty_vectors(like: Tensor) -> dict[str, Tensor]:
    """One vector of zeros stays visible."""
    hidden = torch.ones(like.shape[:2], dtype=torch.bool, device=like.device)
    hidden[:, 0] = False
    return {
        "tensor": torch.zeros_like(like),
        "input_mask": hidden,
        "target_mask": torch.ones_like(hidden),
        "decoder_attention_mask": torch.zeros_like(hidden),
    }


def full_input(
    modality: Modality, entry: Mapping[str, Tensor], end: int = END
) -> dict[str, Tensor]:
    """A modality that is given whole.

    Text is visible up to its first end token, found in each row; where there is none it is put
    after the last token, one column is added where needed, and at the longest length the last
    token gives way to it.

    Args:
        modality: which one.
        entry: `tensor`, and `mask_valid` [B, L] for vectors.
        end: id of the end token.

    Raises:
        DataError: vectors without `mask_valid`.
    """
    tensor = entry["tensor"]
    if modality.type in TEXT_LIKE:
        tensor = _with_end(tensor, modality, end)
        first = (tensor == end).int().argmax(dim=1)  # [B]
        hidden = torch.arange(tensor.shape[1], device=tensor.device)[None] > first[:, None]
    elif modality.type == "seq_emb":
        if "mask_valid" not in entry:
            raise DataError(f"{modality.name} needs 'mask_valid': which of its vectors count")
        hidden = ~entry["mask_valid"]
    else:
        shape = (len(tensor), modality.num_positions)
        hidden = torch.zeros(shape, dtype=torch.bool, device=tensor.device)
    return {
        **entry,
        "tensor": tensor,
        "input_mask": hidden,
        "target_mask": torch.ones_like(hidden),
        "decoder_attention_mask": torch.zeros_like(hidden),
    }


def _with_end(ids: Tensor, modality: Modality, end: int) -> Tensor:
    lacking = (ids != end).all(dim=1)
    if not lacking.any():
        return ids
    used = ids != PAD
    places = torch.arange(1, ids.shape[1] + 1, device=ids.device)
    lengths = (used * places).amax(dim=1)  # [B]: up to the last token that is not padding
    if int(lengths[lacking].max()) == ids.shape[1]:
        if ids.shape[1] < modality.max_length:
            ids = torch.cat([ids, torch.full_like(ids[:, :1], PAD)], dim=1)
        else:
            logger.warning(
                "%s: a text of %d tokens has no room for its end token; the last one is replaced",
                modality.name,
                ids.shape[1],
            )
    ids = ids.clone()
    rows = lacking.nonzero()[:, 0]
    ids[rows, lengths[rows].clamp(max=ids.shape[1] - 1)] = end
    return ids


def continued_text(given: Sequence[int], end: Sequence[int], max_length: int) -> dict[str, Tensor]:
    """Text that the user begins and the model goes on with, [1, ...].

    Args:
        given: ids of the user's text, which ends in [S_1] where it is to be continued.
        end: ids of the token that stops the decoder.
        max_length: how many ids the continuation may have, with its frame.
    """
    frame = [FIRST_SENTINEL, *[PAD] * (max_length - 2), *end]
    ids = torch.tensor([[*given, *frame]])
    made = torch.arange(ids.shape[1])[None] >= len(given)
    return {
        "tensor": ids,
        "input_mask": made,
        "target_mask": ~made,
        "decoder_attention_mask": torch.zeros_like(made),
    }


def expand_to_batch(sample: Sample, times: int) -> dict[str, dict[str, Tensor]]:
    """Repeat each row of a sample, its copies side by side."""
    repeated = ("tensor", "input_mask", "target_mask", "decoder_attention_mask", "mask_valid")
    return {
        name: {
            key: value.repeat_interleave(times, dim=0) if key in repeated else value
            for key, value in entry.items()
        }
        for name, entry in sample.items()
    }


def emptied(
    sample: Sample, domains: Sequence[str], modalities: Mapping[str, Modality], target: str
) -> dict[str, Mapping[str, Tensor]]:
    """The sample without these conditions: what guidance compares with.

    Listed domains that the sample lacks are passed over; the target itself is left as it is.
    """
    left = dict(sample)
    for name in domains:
        if name not in sample or name == target:
            continue
        left[name] = empty_condition(modalities[name], sample[name])
    return left


def empty_condition(modality: Modality, entry: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One condition, emptied: text keeps one visible [S_1], vectors one of zeros."""
    tensor = entry["tensor"]
    if modality.type in TEXT_LIKE:
        if tensor.shape[1] < 2:
            tensor = tensor.new_zeros(len(tensor), 2)
        return _empty_text(tensor)
    if modality.type == "seq_emb":
        return _empty_vectors(tensor)
    everything = torch.ones_like(entry["input_mask"])
    return {**entry, "input_mask": everything, "target_mask": ~everything}
