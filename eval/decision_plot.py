"""What each candidate decided for each stage, over all of its images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.files import write_atomic
from eval.compute import Compute
from eval.evaluation import Evaluation

BINS = ("all computed", "up to a third left out", "up to two thirds", "more", "skipped")
_SHADES = ("#e8e8e8", "#a6cbe3", "#5a9bc9", "#1f5f96", "#222222")
_OFF = "#e69f00"
_MOST_CANDIDATES = 6


def decisions_by_stage(
    costs: Mapping[str, Compute],
) -> dict[str, tuple[list[float], float]]:
    """For each stage the shares of images in each of `BINS`, and the share without guidance.

    Stages come in the order in which images name them; images that lack one do not count there.
    """
    counts: dict[str, Counter[int]] = {}
    off: Counter[str] = Counter()
    for cost in costs.values():
        for stage, ratio, guidance in cost.decisions:
            counts.setdefault(stage, Counter())[_bin(ratio)] += 1
            off[stage] += not guidance and ratio < 1
    return {
        stage: ([found[i] / found.total() for i in range(len(BINS))], off[stage] / found.total())
        for stage, found in counts.items()
    }


def draw_decisions(evaluation: Evaluation, path: Path) -> Path | None:
    """Draw a panel for each candidate (the first six): a bar for each stage.

    Returns:
        The path; None (and nothing is drawn) where no candidate says what was decided.
    """
    comparison = evaluation.comparison
    found = {name: decisions_by_stage(comparison.compute[name]) for name in comparison.candidates}
    shown = [name for name, stages in found.items() if stages][:_MOST_CANDIDATES]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.4 * columns, 2.9 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, shown, strict=False):
        _draw_bars(axis, found[name])
        axis.set_title(name.replace("$", r"\$"), fontsize=11, loc="left")
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    write_atomic(path, lambda target: figure.savefig(target, format="png", dpi=130))
    return path


def _bin(ratio: float) -> int:
    if ratio in (0.0, 1.0):
        return 0 if ratio == 0 else len(BINS) - 1
    return 1 if ratio <= 1 / 3 else 2 if ratio <= 2 / 3 else 3


def _draw_bars(axis: Axes, stages: Mapping[str, tuple[Sequence[float], float]]) -> None:
    places = range(len(stages))
    bottom = [0.0] * len(stages)
    for index, (label, shade) in enumerate(zip(BINS, _SHADES, strict=True)):
        heights = [100 * shares[index] for shares, _ in stages.values()]
        axis.bar(places, heights, bottom=bottom, color=shade, label=label, width=0.85)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    off = [100 * share if share else float("nan") for _, share in stages.values()]
    axis.plot(places, off, "_", color=_OFF, markersize=14, markeredgewidth=2.5, label="no guidance")
    axis.set_xticks(list(places), [name[:12] for name in stages], rotation=45, fontsize=8)
    axis.set_ylim(-2, 102)
    axis.set_ylabel("% of images", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
