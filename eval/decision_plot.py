"""What each candidate decided for each stage, over all of its images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.files import write_atomic
from eval.decisions import BINS
from eval.evaluation import Evaluation
from eval.plots import plain_text

_SHADES = ("#e8e8e8", "#a6cbe3", "#5a9bc9", "#1f5f96", "#222222")
_OFF = "#e69f00"
_MOST_CANDIDATES = 6


def draw_decisions(evaluation: Evaluation, path: Path) -> Path | None:
    """Draw a panel for each candidate (the first six): a bar for each stage.

    Returns:
        The path; None (and nothing is drawn) where no candidate says what was decided.
    """
    folders = evaluation.summary["folders"]
    found = {name: folders[name]["decisions"] for name in evaluation.comparison.candidates}
    shown = [name for name, stages in found.items() if stages][:_MOST_CANDIDATES]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.4 * columns, 2.9 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, shown, strict=False):
        _draw_bars(axis, found[name])
        axis.set_title(plain_text(name), fontsize=11, loc="left")
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    entries: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(
        entries.values(), entries, loc="outside lower center", ncols=6, frameon=False, fontsize=8
    )
    write_atomic(path, lambda target: figure.savefig(target, format="png", dpi=130))
    return path


def _draw_bars(axis: Axes, stages: Mapping[str, Mapping[str, Any]]) -> None:
    places = range(len(stages))
    bottom = [0.0] * len(stages)
    for index, (label, shade) in enumerate(zip(BINS, _SHADES, strict=True)):
        heights = [100 * stage["histogram"][index] for stage in stages.values()]
        axis.bar(places, heights, bottom=bottom, color=shade, label=label, width=0.85)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    shares = [stage["without_guidance"] for stage in stages.values()]
    off = [100 * share if share else float("nan") for share in shares]
    if any(shares):
        axis.plot(places, off, "_", color=_OFF, markersize=14, mew=2.5, label="no guidance")
    names = [plain_text(name[:12]) for name in stages]
    axis.set_xticks(list(places), names, rotation=45, fontsize=8)
    axis.set_ylim(-2, 102)
    axis.set_ylabel("% of images", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
