"""What a policy may look at: a small vector per row, cheap beside one step of the model.

Shapes: B rows, D width.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fourm_backend.state import Row, decoded
from fourm_backend.stepper import Stepper

CONDITION_COLUMNS = 128  # at most; wider models are projected
STATISTICS = (
    "target_made",  # share of the current target that is made
    "due",  # share of it that the next step should make
    "confidence",  # mean chance of the likeliest token at the last step that ran
    "least_sure",  # the smallest of these chances
    "doubt",  # ln(1 + how many of these tokens are expected to be wrong)
    "entropy",  # mean entropy there, 1 for a uniform choice
    "close_calls",  # ln(1 + how many tokens that were not kept were won by next to nothing)
    "stale",  # share of the visible tokens that the kept encoding lacks
    "stale_unguided",  # the same in the pass without the conditions
    "guided_step",  # whether the next step has guidance at all
    "last_of_target",  # whether the next step has to finish its target
    "given",  # tokens of the conditions as a share of those and of all targets
)


def feature_names(targets: Sequence[str], width: int) -> tuple[str, ...]:
    """One name a column.

    Args:
        targets: names.
        width: D.
    """
    current = [f"target_{name}" for name in targets]
    conditions = (f"condition_{index}" for index in range(min(width, CONDITION_COLUMNS)))
    return (*current, *STATISTICS, *conditions)


def condition_projection(width: int) -> Tensor:
    """What the pooled conditions are multiplied by, [D, at most CONDITION_COLUMNS].

    Narrow ones are taken whole; of wide ones, fixed random sums.
    """
    if width <= CONDITION_COLUMNS:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(20260102)
    return torch.randn(width, CONDITION_COLUMNS, generator=generator) / width**0.5


def row_features(
    stepper: Stepper, row: Row, targets: Sequence[str], projection: Tensor
) -> np.ndarray:
    """[F] float32, columns as `feature_names`; a row that is done shows its last step."""
    stage = min(row.stage, len(stepper.schedule) - 1)
    step = stepper.schedule[stage]
    entry = row.targets[step.target_domain]
    length, made = entry["target_mask"].numel(), decoded(entry)
    given = sum(int((~entry["input_mask"]).sum()) for entry in row.given.values())
    shown = [float(name == step.target_domain) for name in targets]
    statistics = [
        made / length,
        (stepper.due_after[stage] - made) / length,
        row.confidence,
        row.least_sure,
        math.log1p(row.doubt),
        row.entropy,
        math.log1p(row.close_calls),
        _stale(stepper, row, 0),
        _stale(stepper, row, 1),
        float(step.guided),
        float(stepper.is_last_of_target(stage)),
        given / (given + sum(entry["target_mask"].numel() for entry in row.targets.values())),
    ]
    pooled = row.pooled.float().cpu()
    pooled = pooled / pooled.square().mean().sqrt().clamp(min=1e-6)
    condition = (pooled @ projection).numpy()
    return np.concatenate([shown, statistics, condition]).astype(np.float32)


def _stale(stepper: Stepper, row: Row, branch: int) -> float:
    """1 where nothing is kept."""
    kept = row.branches[branch]
    if kept is None or row.stage >= len(stepper.schedule):
        return 1.0
    sites = stepper.sites(row, branch)
    return 1.0 - float(torch.isin(sites, kept.sites).float().mean()) if len(sites) else 0.0
