"""The two branches of guidance inside a stage: where they mix, and the logits at the end.

Shapes: G requests of a group, R rows (conditional ones first), n tokens, C width, d bits per token.
"""

from collections.abc import Sequence

from torch import Tensor

from infinity_backend.config import PipelineConfig
from infinity_backend.groups import GroupRun, text_rows
from infinity_backend.packing import Packing
from infinity_backend.sampling import mix
from infinity_backend.transformer import Infinity


def mixing_blocks(config: PipelineConfig) -> set[int]:
    """The blocks after which both branches become their mix."""
    depth = config.infinity.depth
    return {depth + k for k in config.sampling.cfg_insertion_layer if k < 0}


def mix_in_between(runs: Sequence[GroupRun], x: Tensor, packing: Packing, cfg: float) -> Tensor:
    """Guidance in the middle of the network, for the groups that have two branches."""
    if cfg == 1.0:
        return x
    return packing.pack(
        [
            part if run.group.branches == 1 else _mix_halves(part, cfg).repeat(2, 1, 1)
            for run, part in zip(runs, packing.unpack(x), strict=True)  # each [R, n, C]
        ]
    )


def guided_logits(
    model: Infinity,
    config: PipelineConfig,
    runs: Sequence[GroupRun],
    x: Tensor,
    packing: Packing,
    cfg: float,
) -> list[Tensor]:
    """Logits per group [G, n, 2d]; the head sees only the rows that are read."""
    mixes = [
        0 in config.sampling.cfg_insertion_layer and run.group.branches == 2 and cfg != 1.0
        for run in runs
    ]
    needed = [
        part if both else part[: len(run.group.rows)]
        for both, run, part in zip(mixes, runs, packing.unpack(x), strict=True)
    ]
    shapes = Packing(tuple((len(part), part.shape[1]) for part in needed))
    modulation = None
    if model.head_nm is not None:
        rows = [
            text_rows(run.group, lambda chunk: chunk.head)[: len(part)]
            for run, part in zip(runs, needed, strict=True)
        ]
        scale, shift = shapes.spread(rows).unbind(-2)
        modulation = (scale, shift)
    logits = shapes.unpack(model.logits(shapes.pack(needed), modulation))
    return [
        _mix_halves(part, cfg) if both else part for both, part in zip(mixes, logits, strict=True)
    ]


def _mix_halves(x: Tensor, cfg: float) -> Tensor:
    conditional, unconditional = x.chunk(2)
    return mix(conditional, unconditional, cfg)
