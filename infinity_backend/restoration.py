"""What earlier stages left for pruned tokens, averaged onto the grid of this one.

Shapes: R rows of a group, L tokens of this stage, H heads, C width.
"""

import torch
from torch import Tensor

from infinity_backend.bsq import Grid
from infinity_backend.config import PruningConfig
from infinity_backend.groups import GroupRun
from infinity_backend.pruning import resize_tokens
from infinity_backend.state import Ref, RestorationChunk, gather_rows, shared_runs


def cached_update(
    run: GroupRun, pruning: PruningConfig, grid: Grid, block: int, sub_layer: int
) -> Tensor:
    """What pruned tokens of a sub-layer receive: [R, L, C]; zeros where nothing is cached."""
    refs = _refs(run, pruning)
    if not refs:
        rows, width = run.group.num_rows, run.group.rows[0].text.chunk.pooled.shape[-1]
        return run.modulation.new_zeros(rows, grid[0] * grid[1], width, dtype=torch.float32)
    runs = shared_runs(refs, run.group.device)
    cached = gather_rows(runs, lambda chunk: chunk.updates[block][sub_layer], run.group.branches)
    return resize_tokens(cached.flatten(0, 1), refs[0].chunk.grid, grid)


def all_cached_updates(run: GroupRun, pruning: PruningConfig, grid: Grid) -> Tensor:
    """The sum of `cached_update` over all prunable blocks; summed first, then resized once."""
    refs = _refs(run, pruning)
    if not refs:
        return run.modulation.new_zeros(1, dtype=torch.float32)

    def total(chunk: RestorationChunk) -> Tensor:
        return torch.stack([part for parts in chunk.updates.values() for part in parts]).sum(0)

    summed = gather_rows(shared_runs(refs, run.group.device), total, run.group.branches)
    return resize_tokens(summed.flatten(0, 1), refs[0].chunk.grid, grid)


def carried_entropy(run: GroupRun, pruning: PruningConfig, grid: Grid) -> Tensor | None:
    """The last measured entropies of a group [R, H, L]; None where there are none."""
    refs = [row.attention for row in run.group.rows if row.attention is not None]
    if not refs or not pruning.measures_attention:
        return None
    entropy = gather_rows(
        shared_runs(refs, run.group.device), lambda c: c.entropy, run.group.branches
    )
    return resize_tokens(entropy.flatten(0, 1).transpose(1, 2), refs[0].chunk.grid, grid).transpose(
        1, 2
    )


def _refs(run: GroupRun, pruning: PruningConfig) -> list[Ref[RestorationChunk]]:
    if pruning.restore == "zero":
        return []
    return [row.restoration for row in run.group.rows if row.restoration is not None]
