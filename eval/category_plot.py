"""The means of each category, candidate by candidate, with their intervals."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.files import write_atomic
from eval.evaluation import Evaluation
from eval.figures import quality_figures
from eval.headline import heading
from eval.plots import COLOURS, errors, plain_text

_MOST_CATEGORIES = 24
_MOST_CANDIDATES = len(COLOURS)


def draw_categories(evaluation: Evaluation, path: Path) -> Path | None:
    """Draw the first figure of quality, and compute saved where it is known, by category.

    Of many categories the 24 with the most images are drawn, and the first six candidates.

    Returns:
        The path; None (and nothing is drawn) where the metadata name no categories.
    """
    by_category = evaluation.summary["categories"]
    figures = [figure.name for figure in quality_figures(evaluation.figures)[:1]]
    figures += [f.name for f in evaluation.figures if f.name == "compute_saved"]
    if not by_category or not figures:
        return None
    counts = {name: _images(folders) for name, folders in by_category.items()}
    shown = sorted(counts, key=lambda name: -counts[name])[:_MOST_CATEGORIES]
    shown = [name for name in by_category if name in shown]  # in the order of the table
    names = evaluation.comparison.candidates[:_MOST_CANDIDATES]
    height = 1.0 + len(shown) * (0.22 + 0.14 * len(names))
    canvas = Figure(figsize=(5.6 * len(figures) + 1.2, height), layout="constrained")
    axes = canvas.subplots(1, len(figures), squeeze=False, sharey=True)[0]
    for axis, figure in zip(axes, figures, strict=True):
        for number, name in enumerate(names):
            offset = 0.16 * (number - (len(names) - 1) / 2)
            means = [by_category[category][name].get(figure) for category in shown]
            _draw_means(axis, means, offset, COLOURS[number], name, figure)
        axis.set_xlabel("compute saved (%)" if figure == "compute_saved" else heading(figure))
        axis.grid(axis="x", color="0.92")
        axis.spines[["top", "right"]].set_visible(False)
    labels = [f"{plain_text(name[:40])}\n({counts[name]} images)" for name in shown]
    axes[0].set_yticks(range(len(shown)), labels, fontsize=8)
    axes[0].invert_yaxis()
    canvas.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False
    )
    write_atomic(path, lambda target: canvas.savefig(target, format="png", dpi=130))
    return path


def _images(folders: dict[str, dict[str, dict]]) -> int:
    return max((f["n"] for figures in folders.values() for f in figures.values()), default=0)


def _draw_means(
    axis: Axes, means: list[dict | None], offset: float, colour: str, name: str, figure: str
) -> None:
    scale = 100 if figure == "compute_saved" else 1
    drawn = [(row, values) for row, values in enumerate(means) if values and values["n"]]
    bars = [errors(values, scale) or [[0.0], [0.0]] for _, values in drawn]
    axis.errorbar(
        [scale * values["mean"] for _, values in drawn],
        [row + offset for row, _ in drawn],
        xerr=np.array(bars).reshape(-1, 2).T,  # [2, categories]
        fmt="o",
        color=colour,
        markersize=5,
        capsize=2,
        label=plain_text(name),
    )
