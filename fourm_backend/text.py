"""Text with holes: sentinels in the input say where spans of the decoder's output go."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from base.errors import CheckpointError
from fourm_backend.samples import FIRST_SENTINEL, PAD

SENTINELS = frozenset(range(4, 204))  # [S_0] to [S_199]


def load_text_tokenizer(path: str | Path) -> Any:
    """Read a tokenizer of the `tokenizers` library from its JSON file.

    Raises:
        CheckpointError: no such file, or it is not a tokenizer.
    """
    from tokenizers import Tokenizer

    if not Path(path).is_file():
        raise CheckpointError(f"text tokenizer {path} does not exist")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise CheckpointError(f"text tokenizer {path} cannot be read: {error}") from None


def sentinel_ids(tokenizer: Any) -> frozenset[int]:
    """The ids of `[S_0]`, `[S_1]` and so on."""
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    return frozenset(number for token, number in vocabulary.items() if token.startswith("[S_"))


def split_spans(
    sequence: Sequence[int], sentinels: Collection[int] = SENTINELS
) -> dict[int | None, list[int]]:
    """What follows each sentinel, where something does; under None what comes before the first."""
    spans: dict[int | None, list[int]] = {}
    current: int | None = None
    for token in sequence:
        if token in sentinels:
            current = token
        else:
            spans.setdefault(current, []).append(token)
    return spans


def merge_spans(
    given: Sequence[int], made: Sequence[int], sentinels: Collection[int] = SENTINELS
) -> list[int]:
    """Put spans in place of their sentinels; a sentinel without a span vanishes."""
    spans = split_spans(made, sentinels)
    merged: list[int] = []
    for token in given:
        merged += spans.get(token, []) if token in sentinels else [token]
    return merged


def merged_entry(
    entry: Mapping[str, Tensor],
    made: Sequence[Sequence[int]],
    sentinels: Collection[int] = SENTINELS,
) -> dict[str, Tensor]:
    """A text-like modality after it was made: visible, and nothing left to make.

    Args:
        entry: its input, of which visible ids are [S_1] where nothing was given.
        made: what the decoder wrote in each row, its first token included.
        sentinels: ids of sentinels.
    """
    rows = []
    for ids, hidden, written in zip(entry["tensor"], entry["input_mask"], made, strict=True):
        given = ids[~hidden].tolist() or [FIRST_SENTINEL]
        rows.append(merge_spans(given, written, sentinels))
    return full_text(rows, entry["tensor"].device)


def full_text(rows: Sequence[Sequence[int]], device: torch.device) -> dict[str, Tensor]:
    """Texts [B, longest], padded, visible, nothing left to make."""
    width = max(map(len, rows))
    ids = torch.tensor(
        [[*row, *[PAD] * (width - len(row))] for row in rows], dtype=torch.int64, device=device
    ).reshape(len(rows), width)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    hidden = torch.arange(width, device=device)[None] >= lengths[:, None]
    return {
        "tensor": ids,
        "input_mask": hidden,
        "target_mask": torch.ones_like(hidden),
        "decoder_attention_mask": torch.zeros_like(hidden),
    }
