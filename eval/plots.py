"""Pictures of a comparison: quality against compute."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.files import write_atomic
from eval.comparison import ORIGINAL
from eval.evaluation import Evaluation
from eval.figures import values_by_folder
from eval.headline import heading

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
_QUALITY = ("ssim", "ssim_uniform7", "ssim_legacy3", "psnr_capped50")
_MOST_DOTS = 2000


def compute_axis(evaluation: Evaluation) -> str | None:
    """The figure that tells what images cost: FLOPs saved, else latency, else None."""
    known = {figure.name for figure in evaluation.figures}
    return next((name for name in ("compute_saved", "latency_ms") if name in known), None)


def draw_quality_against_compute(evaluation: Evaluation, path: Path) -> Path | None:
    """Draw the mean of each candidate with its 95 % interval, and each image as a faint dot.

    Returns:
        The path; None (and nothing is drawn) where no folder says what its images cost.
    """
    across = compute_axis(evaluation)
    known = {figure.name for figure in evaluation.figures}
    panels = [name for name in _QUALITY if name in known and _drawable(evaluation, across, name)]
    if across is None or not panels:
        return None
    figure = Figure(figsize=(5.6 * len(panels), 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, quality in zip(axes[0], panels, strict=True):
        _draw_panel(axis, evaluation, across, quality)
    axes[0][0].legend(frameon=False)
    figure.suptitle("means with 95 % intervals; dots are single images", fontsize=10, color="0.4")
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
    for name, colour in zip(_drawable(evaluation, across, quality), COLOURS * 20, strict=False):
        both = costs[name].index.intersection(values[name].index)[:_MOST_DOTS]
        axis.scatter(
            scale * costs[name][both], values[name][both], s=7, color=colour, alpha=0.25, lw=0
        )
        figures = evaluation.summary["folders"][name]["figures"]
        x, y = figures[across], figures[quality]
        axis.errorbar(
            scale * x["mean"],
            y["mean"],
            xerr=_errors(x, scale),
            yerr=_errors(y, 1),
            fmt="o",
            markersize=8,
            color=colour,
            capsize=3,
            label=f"{name} ({y['n']} images)",
        )
    if across == "latency_ms" and ORIGINAL in costs:
        axis.axvline(costs[ORIGINAL].mean(), color="0.6", lw=1, ls="--", label=ORIGINAL)
    axis.set_xlabel("compute saved (% of FLOPs)" if across == "compute_saved" else "ms / image")
    axis.set_ylabel(f"{heading(quality)} to {ORIGINAL}")
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _errors(values: dict, scale: float) -> list[list[float]] | None:
    if values["ci95"] is None:
        return None
    low, high = values["ci95"]
    return [[scale * (values["mean"] - low)], [scale * (high - values["mean"])]]
