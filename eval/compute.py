"""What each image cost, as `prunegym generate` writes it into the metadata."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from eval.folders import printable


class StageDecision(NamedTuple):
    """What was decided for one stage: a share from 0 to 1, exactly 1.0 for a skipped stage."""

    stage: str
    prune_ratio: float
    guidance: bool


@dataclass(frozen=True, slots=True)
class Compute:
    """The cost of one image. Each part is None, or empty, where the metadata do not say.

    Attributes:
        compute_saved: 1 - cost / full cost, in FLOPs; the full cost is that of the same request
            with nothing pruned.
        latency_ms: time for the image on the device that made it.
        decisions: one for each stage, coarse to fine.
        cost_flops: what `compute_saved` is computed from.
        batch_size: how many images were made together when the time was taken.
    """

    compute_saved: float | None = None
    latency_ms: float | None = None
    decisions: tuple[StageDecision, ...] = ()
    cost_flops: float | None = None
    batch_size: float | None = None


def compute_of(record: Mapping[str, Any]) -> Compute:
    """Read the cost out of an image's metadata. Values of a wrong type count as missing."""
    cost, full = _positive(record.get("cost_flops")), _positive(record.get("full_cost_flops"))
    stages = record.get("decisions", _last_four(record.get("prune_ratio_last4")))
    decisions = [_decision_of(stage) for stage in stages] if isinstance(stages, list) else []
    return Compute(
        compute_saved=1 - cost / full if cost is not None and full else None,
        latency_ms=_positive(record.get("latency_ms")),
        decisions=tuple(decision for decision in decisions if decision),
        cost_flops=cost,
        batch_size=_positive(record.get("batch_size")),
    )


def _last_four(ratios: Any) -> list[dict[str, Any]] | None:
    """The predecessor's form: the shares that were pruned of the last four scales."""
    if not isinstance(ratios, list) or len(ratios) != 4:
        return None
    names = ("4th last", "3rd last", "2nd last", "last")
    return [
        {"stage": name, "prune_ratio": ratio} for name, ratio in zip(names, ratios, strict=True)
    ]


def compute_to_json(cost: Compute) -> list[Any]:
    """As a value that JSON can hold."""
    return [
        cost.compute_saved,
        cost.latency_ms,
        cost.decisions,
        cost.cost_flops,
        cost.batch_size,
    ]


def compute_from_json(value: list[Any]) -> Compute:
    """What `compute_to_json` gave, again."""
    saved, latency_ms, decisions, *others = value
    return Compute(saved, latency_ms, tuple(StageDecision(*stage) for stage in decisions), *others)


def _positive(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return float(value) if number and math.isfinite(value) and value >= 0 else None
    except OverflowError:  # JSON integers have no limit
        return None


def _decision_of(stage: Any) -> StageDecision | None:
    """A decision as the metadata hold it, `{"stage": ..., "prune_ratio": ...}`; None for others."""
    if not isinstance(stage, dict) or not isinstance(stage.get("stage"), str):
        return None
    ratio = _positive(stage.get("prune_ratio"))
    if ratio is None or ratio > 1:
        return None
    guidance = stage.get("guidance") is not False
    return StageDecision(printable(stage["stage"]), ratio, guidance)
