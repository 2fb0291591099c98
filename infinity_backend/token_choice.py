"""Which tokens of a group stay, and how the others leave a stage and come back.

Shapes: G requests of a group, R rows, L tokens of the stage, n kept ones, C width, c head width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from infinity_backend.bsq import Grid
from infinity_backend.config import PipelineConfig, PruningConfig
from infinity_backend.groups import GroupRun
from infinity_backend.packing import Packing
from infinity_backend.pruning import gather, scatter
from infinity_backend.restoration import all_cached_updates
from infinity_backend.selection import SELECTIONS, Evidence


def choose(run: GroupRun, pruning: PruningConfig, stream: Tensor, kept: int) -> Tensor:
    """The kept tokens [rows, n] for the rows of `stream` [rows, L, C]."""
    change = entropy = None
    if run.change is not None:
        change = run.every_branch(run.change)[: len(stream)]
    if run.entropy is not None:
        entropy = run.entropy[: len(stream)]
    evidence = Evidence(stream, entropy, change, settle_ties=pruning.restore == "no_code")
    return SELECTIONS[pruning.selection](evidence, kept)


def leave_once(config: PipelineConfig, tokens: int, changing: set[int]) -> bool:
    """Whether pruned tokens can leave once and come back after the last prunable block.

    That is so where the choice does not depend on the block, since what they receive does not
    depend on the kept ones; not where the stage fills the cache, nor where something else
    changes the stream in between, before one of the blocks `changing`.

    Args:
        config: the whole pipeline's.
        tokens: of the stage.
        changing: blocks before which something else happens to all tokens.
    """
    pruning = config.pruning
    fixed = pruning.selection == "change" and pruning.self_attention_share == 1.0
    restores = pruning.restore == "zero" or (
        pruning.restore == "cached" and tokens != pruning.cache_tokens
    )
    inside = range(pruning.first_block + 1, pruning.last_block + 1)
    last = pruning.last_block < config.infinity.depth
    return fixed and restores and last and not changing.intersection(inside)


def take_out(
    runs: Sequence[GroupRun], pruning: PruningConfig, streams: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Pruned tokens out of the streams [R, L, C], alike in all branches.

    Returns:
        Per group the kept tokens [R, n, C], in order, and which they are [G, n].
    """
    parts, chosen = [], []
    for run, stream in zip(runs, streams, strict=True):
        conditional, tokens = stream[: len(run.group.rows)], stream.shape[1]
        if run.group.kept < tokens:
            indices = choose(run, pruning, conditional, run.group.kept).sort(dim=1).values
        else:
            indices = torch.arange(tokens, device=stream.device).expand(len(conditional), -1)
        chosen.append(indices)
        parts.append(gather(stream, run.every_branch(indices)))
    return parts, chosen


def bring_back(
    runs: Sequence[GroupRun],
    pruning: PruningConfig,
    grid: Grid,
    before: Sequence[Tensor],
    parts: Sequence[Tensor],
    chosen: Sequence[Tensor],
) -> list[Tensor]:
    """Kept tokens among the others, which received all cached updates meanwhile.

    Args:
        runs: G requests each.
        pruning: the settings.
        grid: of the stage.
        before: per group all tokens as they were when the pruned ones left [R, L, C].
        parts: per group the kept tokens as they are now [R, n, C].
        chosen: per group which these are [G, n].
    """
    back = []
    for run, whole, part, indices in zip(runs, before, parts, chosen, strict=True):
        if run.group.kept < whole.shape[1]:
            whole = whole + all_cached_updates(run, pruning, grid)
            part = scatter(whole, run.every_branch(indices), part)
        back.append(part)
    return back


def kept_rope(
    runs: Sequence[GroupRun], chosen: Sequence[Tensor | None], packing: Packing, rope: Tensor
) -> Tensor:
    """Rotations of the kept tokens, packed like them [..., n, c/2]; `rope` [L, c/2] is of all.

    Args:
        runs: the groups.
        chosen: per group the kept tokens [R, n], or None where all are.
        packing: how they lie.
        rope: of the whole stage.
    """
    if all(indices is None for indices in chosen):
        return rope
    return packing.pack(
        [
            rope.expand(run.group.num_rows, -1, -1) if indices is None else rope[indices]
            for run, indices in zip(runs, chosen, strict=True)
        ]
    )
