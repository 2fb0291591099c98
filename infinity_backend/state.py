"""Generation in the middle, as values. Nothing here is ever changed in place.

What a stage leaves behind (keys and values, the restoration cache, the prompt's text) is stored
once per group of requests that ran together; a row only refers to its place in it. Copying a row
copies references, so a tree of decisions shares its prefixes.

Shapes: G requests of a group, b branches (conditional first, then unconditional), H heads, c head
width, n tokens, T text tokens, C width, d bits per latent cell, (h, w) and (H, W) grids.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.bsq import Grid


@dataclass(frozen=True)
class TextChunk:
    """What the prompts of G requests give to every stage: computed once.

    Attributes:
        lengths: per branch, tokens of each request.
        mask: [b, G, T] bool.
        pooled: [b, G, C].
        shared: [b, G, 6, C] modulation, or the pooled text without shared adaLN.
        head: [b, G, 2, C] modulation of the head (empty without head adaLN).
        keys, values: per block [b, G, H, T, c].
    """

    lengths: tuple[tuple[int, ...], ...]
    mask: Tensor
    pooled: Tensor
    shared: Tensor
    head: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True)
class KeyValueChunk:
    """Keys and values that one stage left in every block, [b, G, H, n, c] each.

    Attributes:
        tokens: tokens of the stage, all of them cached in dense blocks.
        kept: tokens cached in prunable blocks.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    tokens: int
    kept: int


@dataclass(frozen=True)
class RestorationChunk:
    """The updates of the cache stage: per block, those of the three sub-layers [b, G, L, C]."""

    grid: Grid
    updates: dict[int, tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class AttentionChunk:
    """How spread out the attention of each token was at a stage: entropy [b, G, H, L]."""

    grid: Grid
    entropy: Tensor


T = TypeVar("T")


@dataclass(frozen=True)
class Ref(Generic[T]):
    """A row's place in something shared."""

    chunk: T
    index: int


Runs: TypeAlias = tuple[tuple[Any, slice | Tensor], ...]


def as_index(places: Sequence[int], device: torch.device) -> slice | Tensor:
    """Places along an axis, as a slice if they lie in a row; else they are sent without waiting."""
    if list(places) == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[-1] + 1)
    return torch.tensor(places).to(device, non_blocking=True)


def shared_runs(refs: Sequence[Ref[Any]], device: torch.device) -> Runs:
    """Neighbours that lie in one chunk: the chunk, and their places in it, as a slice if they can.

    Found once for a group of rows, it serves all tensors of these chunks.
    """
    runs: list[tuple[Any, slice | Tensor]] = []
    start = 0
    while start < len(refs):
        stop = start + 1
        while stop < len(refs) and refs[stop].chunk is refs[start].chunk:
            stop += 1
        places = [ref.index for ref in refs[start:stop]]
        runs.append((refs[start].chunk, as_index(places, device)))
        start = stop
    return tuple(runs)


def gather_rows(runs: Runs, get: Callable[[Any], Tensor], branches: int) -> Tensor:
    """The rows' entries of a shared tensor, [b, G, ...]; no copy where they already lie so.

    Text of different lengths is padded along the last axis but one (keys) or the last (masks).
    """
    pieces = [get(chunk)[:branches, index] for chunk, index in runs]
    return pieces[0] if len(pieces) == 1 else _concatenate(pieces)


def _concatenate(pieces: list[Tensor]) -> Tensor:
    axis = -1 if pieces[0].dim() == 3 else -2
    longest = max(piece.shape[axis] for piece in pieces)
    padded = []
    for piece in pieces:
        missing = longest - piece.shape[axis]
        pad = (0, missing) if axis == -1 else (0, 0, 0, missing)
        padded.append(F.pad(piece, pad) if missing else piece)
    return torch.cat(padded, dim=1)


@dataclass(frozen=True)
class Row:
    """All of one request that is not a tensor of its own.

    Attributes:
        text: its prompt.
        branches: 2 while the guidance branch runs; once dropped it stays dropped.
        history: keys and values of the stages that ran, in order; of a row that is done, nothing is
            kept that only a later stage would read (nor `restoration`, nor `attention`).
        restoration: updates of the cache stage, if it ran.
        attention: entropy of the last stage that measured it.
        signs: per stage +1 or -1 for each bit and 0 where a pruned token adds no code, int8
            [h, w, d] on the tokenizer's grid; None where the stage was skipped.
        entropy_bits: mean entropy of a bit at the last stage that ran, in [0, 1].
        certainty: mean probability of the likelier value of a bit there, in [0.5, 1].
    """

    text: Ref[TextChunk]
    branches: int
    history: tuple[Ref[KeyValueChunk], ...] = ()
    restoration: Ref[RestorationChunk] | None = None
    attention: Ref[AttentionChunk] | None = None
    signs: tuple[Tensor | None, ...] = ()
    entropy_bits: float = 1.0
    certainty: float = 0.5


@dataclass(frozen=True)
class GenerationState:
    """B requests, each at its own stage.

    Attributes:
        requests: the requests of the rows.
        stage: [B] int64, the stage that each row takes next.
        num_stages: length of the schedule.
        rows: what belongs to each row.
        codes: [B, d, H, W] sum of the codes so far, on the last grid.
        previous_codes: [B, d, H, W] the same before the last stage.
        stream: state of the one random stream of `noise="sequential"`, else None.
    """

    requests: tuple[Any, ...]
    stage: np.ndarray
    num_stages: int
    rows: tuple[Row, ...]
    codes: Tensor
    previous_codes: Tensor
    stream: Tensor | None = None

    @property
    def done(self) -> np.ndarray:
        """[B] bool: rows that have taken their last stage."""
        return self.stage >= self.num_stages

    def fork(self, rows: Sequence[int]) -> "GenerationState":
        """These rows, copied, dropped or repeated; everything large is shared."""
        index = list(rows)
        places = torch.tensor(index, dtype=torch.long).to(self.codes.device, non_blocking=True)
        return GenerationState(
            requests=tuple(self.requests[row] for row in index),
            stage=self.stage[index],
            num_stages=self.num_stages,
            rows=tuple(self.rows[row] for row in index),
            codes=self.codes[places],
            previous_codes=self.previous_codes[places],
            stream=self.stream,
        )

    @staticmethod
    def join(states: Sequence["GenerationState"]) -> "GenerationState":
        """States side by side, in order."""
        if len(states) == 1:
            return states[0]
        return GenerationState(
            requests=sum((state.requests for state in states), ()),
            stage=np.concatenate([state.stage for state in states]),
            num_stages=states[0].num_stages,
            rows=sum((state.rows for state in states), ()),
            codes=torch.cat([state.codes for state in states]),
            previous_codes=torch.cat([state.previous_codes for state in states]),
            stream=states[0].stream,
        )
