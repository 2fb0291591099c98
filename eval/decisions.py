"""What was decided for each stage, counted over the images of a folder."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from eval.compute import Compute, StageDecision

BINS = ("all computed", "up to a third left out", "up to two thirds", "more", "skipped")


def decisions_by_stage(costs: Iterable[Compute]) -> dict[str, dict[str, Any]]:
    """Count the decisions of many images.

    Returns:
        By stage, in the order in which images name them: `images` (those that lack the stage do not
        count), `mean_ratio` (a skipped stage counts as 1), `histogram` (the shares of images in
        each of `BINS`), and `without_guidance`, the share that ran without it.
    """
    counts: dict[str, Counter[int]] = {}
    ratios: dict[str, float] = {}
    without: Counter[str] = Counter()
    for cost in costs:
        for stage, ratio, guidance in cost.decisions:
            counts.setdefault(stage, Counter())[_bin(ratio)] += 1
            ratios[stage] = ratios.get(stage, 0.0) + ratio
            without[stage] += not guidance and ratio < 1
    return {
        stage: {
            "images": (total := found.total()),
            "mean_ratio": ratios[stage] / total,
            "histogram": [found[index] / total for index in range(len(BINS))],
            "without_guidance": without[stage] / total,
        }
        for stage, found in counts.items()
    }


def decisions_text(decisions: Iterable[StageDecision]) -> str:
    """Decisions in the language of schedules, `4x4:0.4,8x8:1`; `!` marks guidance that was off."""
    return ",".join(f"{d.stage}:{d.prune_ratio:g}{'' if d.guidance else '!'}" for d in decisions)


def _bin(ratio: float) -> int:
    if ratio in (0.0, 1.0):
        return 0 if ratio == 0 else len(BINS) - 1
    return 1 if ratio <= 1 / 3 else 2 if ratio <= 2 / 3 else 3
