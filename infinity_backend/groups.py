"""Rows of one stage put together by shape, and what the stage gives for each group.

Shapes: G requests of a group, b branches, R = b * G rows of a group, L tokens of the stage,
n kept tokens, H heads, c head width, T text tokens, C width, d bits per token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from base.decisions import Decision
from infinity_backend.bsq import Grid
from infinity_backend.config import PipelineConfig
from infinity_backend.packing import Packing
from infinity_backend.state import (
    AttentionChunk,
    KeyValueChunk,
    RestorationChunk,
    Row,
    Runs,
    TextChunk,
    as_index,
    gather_rows,
    shared_runs,
)


@dataclass(frozen=True)
class Group:
    """Requests whose tensors have equal shapes at this stage.

    Attributes:
        members: their positions in the batch.
        rows: what belongs to each.
        branches: 2 with guidance, 1 without.
        kept: tokens that prunable blocks compute; all of the stage's when nothing is pruned.
        attended: the same in self-attention; as many or more.
    """

    members: tuple[int, ...]
    rows: tuple[Row, ...]
    branches: int
    kept: int
    attended: int

    @property
    def num_rows(self) -> int:
        """R: one row per request and branch, the conditional ones first."""
        return self.branches * len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where the rows' tensors are."""
        return self.rows[0].text.chunk.pooled.device

    @cached_property
    def places(self) -> slice | Tensor:
        """The members as an index into tensors of the whole batch."""
        return as_index(self.members, self.device)

    @cached_property
    def text(self) -> Runs:
        """Where the rows' texts lie."""
        return shared_runs([row.text for row in self.rows], self.device)

    @cached_property
    def history(self) -> tuple[Runs, ...]:
        """Where each earlier stage's keys and values of the rows lie."""
        stages = zip(*(row.history for row in self.rows), strict=True)
        return tuple(shared_runs(refs, self.device) for refs in stages)


@dataclass(frozen=True)
class GroupOutput:
    """What a stage gives for one group.

    Attributes:
        logits: [G, L or n, 2d], guidance mixed in, not divided by a temperature.
        kept: [G, n] the tokens that logits belong to, where pruned tokens have none; else None.
        cache: keys and values of all blocks; None at the last stage, after which nobody reads them.
        restoration: updates, if this is the cache stage.
        attention: entropies, if this stage measured them.
    """

    logits: Tensor
    kept: Tensor | None
    cache: KeyValueChunk | None
    restoration: RestorationChunk | None
    attention: AttentionChunk | None = None


@dataclass
class GroupRun:
    """A group while its stage runs: what its text gives, and what piles up block by block."""

    group: Group
    modulation: Tensor  # [R, 6, C], or the pooled text [R, C]
    text_mask: Tensor | None  # [R, 1, 1, T]; None where no row is padded
    keeps: bool = True  # keys, values and updates, for later stages
    keys: list[Tensor] = field(default_factory=list)  # per block [b, G, H, n, c]
    values: list[Tensor] = field(default_factory=list)
    updates: dict[int, list[Tensor]] = field(default_factory=dict)  # per block, three [b, G, L, C]
    entropy: Tensor | None = None  # [R, H, L], carried over, then measured here
    measured: bool = False
    change: Tensor | None = None  # [G, L], by the last stage

    @classmethod
    def start(cls, group: Group, keeps: bool = True) -> "GroupRun":
        """Look up what the text gives to every block.

        A mask that hides nothing is left out: with one, attention cannot use its fastest kernel.
        """
        modulation = text_rows(group, lambda chunk: chunk.shared)
        longest = max(row.text.chunk.mask.shape[-1] for row in group.rows)
        lengths = {
            of_branch[row.text.index]
            for row in group.rows
            for of_branch in row.text.chunk.lengths[: group.branches]
        }
        if lengths == {longest}:
            return cls(group, modulation, None, keeps)
        mask = text_rows(group, lambda chunk: chunk.mask)
        return cls(group, modulation, mask[:, None, None], keeps)

    def every_branch(self, requests: Tensor) -> Tensor:
        """What all branches of a request share, [G, ...] to [R, ...]."""
        return requests.repeat(self.group.branches, *[1] * (requests.dim() - 1))

    def by_branch(self, rows: Tensor) -> Tensor:
        """[R, ...] to [b, G, ...], the form in which chunks are kept."""
        return rows.unflatten(0, (self.group.branches, len(self.group.rows)))

    def output(self, logits: Tensor, kept: Tensor | None, tokens: int, grid: Grid) -> GroupOutput:
        """What piled up, with the logits, as values."""
        cache = None
        if self.keeps:
            cache = KeyValueChunk(tuple(self.keys), tuple(self.values), tokens, self.group.attended)
        restoration = attention = None
        if self.updates:
            updates = {index: (u[0], u[1], u[2]) for index, u in self.updates.items()}
            restoration = RestorationChunk(grid, updates)
        if self.measured and self.entropy is not None:
            attention = AttentionChunk(grid, self.by_branch(self.entropy))
        return GroupOutput(logits, kept, cache, restoration, attention)


def text_rows(group: Group, get: Callable[[TextChunk], Tensor]) -> Tensor:
    """The text entries of all R rows of a group, conditional ones first."""
    return gather_rows(group.text, get, group.branches).flatten(0, 1)


def pack_groups(groups: Sequence[Group], tokens: Sequence[int]) -> Packing:
    """The layout of groups that have so many tokens a row."""
    return Packing(tuple((g.num_rows, count) for g, count in zip(groups, tokens, strict=True)))


def group_rows(
    config: PipelineConfig,
    stage: int,
    rows: Sequence[Row],
    members: Sequence[int],
    decisions: Sequence[Decision],
) -> list[Group]:
    """Put together the rows whose tensors have equal shapes at this stage.

    Args:
        config: the whole pipeline's.
        stage: index into the schedule.
        rows: all rows of the batch.
        members: which of them run this stage.
        decisions: of all rows.
    """
    height, width = config.schedule[stage]
    grouped: dict[tuple[Any, ...], list[int]] = {}
    for member in members:
        row, ratio = rows[member], decisions[member]["prune_ratio"]
        kept = attended = height * width
        if ratio > 0:
            attended = config.pruning.attended_tokens(kept, ratio)
            kept = config.pruning.kept_tokens(kept, ratio)
        history = tuple((ref.chunk.tokens, ref.chunk.kept) for ref in row.history)
        attention = None if row.attention is None else row.attention.chunk.grid
        restores = row.restoration is not None
        key = (kept, attended, row.branches, restores, attention, history)
        grouped.setdefault(key, []).append(member)
    return [
        Group(tuple(same), tuple(rows[member] for member in same), branches, kept, attended)
        for (kept, attended, branches, *_), same in grouped.items()
    ]
