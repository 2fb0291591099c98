"""What each image cost, as `prunegym generate` writes it into the metadata."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eval.folders import printable


@dataclass(frozen=True)
class Compute:
    """The cost of one image. Each part is None, or empty, where the metadata do not say.

    Attributes:
        compute_saved: 1 - cost / full cost, in FLOPs; the full cost is that of the same request
            with nothing pruned.
        latency_ms: time for the image on the device that made it.
        decisions: (stage, prune ratio) of each stage; exactly 1.0 is a skipped stage.
    """

    compute_saved: float | None
    latency_ms: float | None
    decisions: tuple[tuple[str, float], ...]


def compute_of(record: Mapping[str, Any]) -> Compute:
    """Read the cost out of an image's metadata. Values of a wrong type count as missing."""
    cost, full = _positive(record.get("cost_flops")), _positive(record.get("full_cost_flops"))
    stages = record.get("decisions")
    decisions = [_decision(stage) for stage in stages] if isinstance(stages, list) else []
    return Compute(
        compute_saved=1 - cost / full if cost is not None and full else None,
        latency_ms=_positive(record.get("latency_ms")),
        decisions=tuple(decision for decision in decisions if decision),
    )


def _positive(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        return float(value) if number and math.isfinite(value) and value >= 0 else None
    except OverflowError:  # JSON integers have no limit
        return None


def _decision(stage: Any) -> tuple[str, float] | None:
    if not isinstance(stage, dict) or not isinstance(stage.get("stage"), str):
        return None
    ratio = _positive(stage.get("prune_ratio"))
    return None if ratio is None or ratio > 1 else (printable(stage["stage"]), ratio)
