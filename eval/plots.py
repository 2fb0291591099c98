"""The front: quality against compute, a point with bars for each candidate."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.files import write_atomic
from eval.comparison import ORIGINAL
from eval.evaluation import Evaluation
from eval.figures import values_by_folder
from eval.front import upper_hull
from eval.headline import heading

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
_BEST = {"ssim": 1.0, "ssim_uniform7": 1.0, "ssim_legacy3": 1.0, "psnr_capped50": 50.0}  # drawn
_MOST_DOTS = 2000


def compute_axis(evaluation: Evaluation) -> str | None:
    """The figure that tells what images cost: FLOPs saved, else latency, else None."""
    known = {figure.name for figure in evaluation.figures}
    return next((name for name in ("compute_saved", "latency_ms") if name in known), None)


def draw_quality_against_compute(evaluation: Evaluation, path: Path) -> Path | None:
    """Draw the mean of each candidate with its 95 % interval, and each image as a faint dot.

    A line joins what no other candidate and no random mix of them beats; it begins at Original.

    Returns:
        The path; None (and nothing is drawn) where no folder says what its images cost.
    """
    across = compute_axis(evaluation)
    known = {figure.name for figure in evaluation.figures}
    panels = [name for name in _BEST if name in known and _drawable(evaluation, across, name)]
    if across is None or not panels:
        return None
    figure = Figure(figsize=(5.6 * len(panels), 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, quality in zip(axes[0], panels, strict=True):
        _draw_panel(axis, evaluation, across, quality)
    axes[0][0].legend(frameon=False)
    text = (
        "means with 95 % intervals; faint dots are single images; "
        "a point below the dashed line is beaten by another one or by a random mix of two"
    )
    figure.suptitle(text, fontsize=9, color="0.4")
    write_atomic(path, lambda target: figure.savefig(target, format="png", dpi=130))
    return path


def _drawable(evaluation: Evaluation, across: str | None, quality: str) -> list[str]:
    """The candidates that have a mean of both figures."""
    folders = evaluation.summary["folders"]
    return [
        name
        for name in evaluation.comparison.candidates
        if all(
            folders[name]["figures"].get(figure, {}).get("mean") is not None
            for figure in (across, quality)
        )
    ]


def _draw_panel(axis: Axes, evaluation: Evaluation, across: str, quality: str) -> None:
    costs = values_by_folder(evaluation.images, across)
    values = values_by_folder(evaluation.images, quality)
    scale = 100 if across == "compute_saved" else 1
    means = []
    if ORIGINAL in costs:
        means.append((scale * costs[ORIGINAL].mean(), _BEST[quality]))
        axis.plot(*means[0], "s", color="0.4", markersize=7, label=f"{ORIGINAL}")
    for name, colour in zip(_drawable(evaluation, across, quality), COLOURS * 20, strict=False):
        both = costs[name].index.intersection(values[name].index)[:_MOST_DOTS]
        axis.scatter(
            scale * costs[name][both], values[name][both], s=7, color=colour, alpha=0.25, lw=0
        )
        figures = evaluation.summary["folders"][name]["figures"]
        x, y = figures[across], figures[quality]
        means.append((scale * x["mean"], y["mean"]))
        axis.errorbar(
            scale * x["mean"],
            y["mean"],
            xerr=errors(x, scale),
            yerr=errors(y, 1),
            fmt="o",
            markersize=8,
            color=colour,
            capsize=3,
            label=f"{plain_text(name)} ({y['n']} images)",
        )
    x_values, y_values = np.array(means).T
    hull = upper_hull(-x_values if across == "compute_saved" else x_values, y_values)
    axis.plot(x_values[hull], y_values[hull], "--", color="0.5", lw=1, zorder=0)
    axis.set_xlabel("compute saved (% of FLOPs)" if across == "compute_saved" else "ms / image")
    axis.set_ylabel(f"{heading(quality)} to {ORIGINAL}")
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def errors(values: dict, scale: float) -> list[list[float]] | None:
    """How far the interval of a mean reaches below and above it, as matplotlib wants it."""
    if values["ci95"] is None:
        return None
    low, high = values["ci95"]
    return [[max(0.0, scale * (values["mean"] - low))], [max(0.0, scale * (high - values["mean"]))]]


def plain_text(name: str) -> str:
    """A name that matplotlib draws as it is, and shows in a legend."""
    return name.replace("$", r"\$").lstrip("_") or "?"
