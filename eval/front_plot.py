"""The picture of a comparison: fidelity against compute, and the distance to the best mix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.files import write_atomic
from eval.front import Front, at_budgets, interval
from eval.front_summary import over_trainings

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")


def draw_fronts(
    mix: Front,
    curves: Sequence[Sequence[Front]],
    points: Sequence[Front],
    figure: str,
    weights: np.ndarray,
    path: Path,
) -> Path:
    """Draw fronts on the left, and on the right the same as a distance to the best mix.

    Bands and bars hold 95 % of the resamples.

    Args:
        mix: the best mix of fixed schedules.
        curves: other methods whose points may be mixed, each as its trainings: oracle, policies.
        points: fixed controllers.
        figure: what is drawn upwards.
        weights: [R, N] resamples.
        path: of the PNG.
    """
    canvas = Figure(figsize=(11, 4.6), dpi=140)
    left, right = canvas.subplots(1, 2)
    for number, fronts in enumerate([[mix], *curves]):
        colour = _COLOURS[number % len(_COLOURS)]
        name = fronts[0].name if len(fronts) == 1 else f"{fronts[0].name}, {len(fronts)} trainings"
        for training, front in enumerate(fronts):
            compute, fidelity = front.means(figure)
            order = np.argsort(compute)
            left.plot(
                compute[order],
                fidelity[order],
                "o-",
                color=colour,
                markersize=2.5,
                linewidth=1,
                label=None if training else name,
            )
        _draw_distance(right, fronts, mix, figure, weights, colour)
    _draw_points(left, points, figure, weights)
    left.set_ylabel(f"{figure} against the unpruned image")
    left.legend(fontsize=7, loc="lower right")
    right.set_ylabel(f"{figure} minus that of the best mix of fixed schedules")
    for axes in (left, right):
        axes.set_xlabel("compute, share of the full cost")
        axes.grid(alpha=0.25)
    canvas.tight_layout()
    write_atomic(path, lambda target: canvas.savefig(target, format="png"))
    return path


def _draw_distance(
    axes: Axes, fronts: Sequence[Front], mix: Front, figure: str, weights: np.ndarray, colour: str
) -> None:
    """The mean over trainings, with its band, wherever the method and the mix reach."""
    budgets = np.linspace(mix.means(figure)[0].min(), 1.0, 61)

    def distance(front: Front, resamples: np.ndarray | None) -> np.ndarray:
        ours, theirs = (at_budgets(f, figure, budgets.tolist(), resamples) for f in (front, mix))
        return ours - theirs

    mean, resampled = over_trainings(fronts, distance, weights)
    bounds = [interval(column) or (np.nan, np.nan) for column in resampled.T]
    low, high = np.array(bounds).T
    axes.plot(budgets, mean, color=colour, linewidth=1.4)
    axes.fill_between(budgets, low, high, color=colour, alpha=0.18, lw=0)


def _draw_points(axes: Axes, points: Sequence[Front], figure: str, weights: np.ndarray) -> None:
    for number, front in enumerate(points):
        compute, fidelity = front.means(figure)
        _, resampled = front.means(figure, weights)
        bounds = [interval(column) or (np.nan, np.nan) for column in resampled.T]
        low, high = np.array(bounds).T
        axes.errorbar(
            compute,
            fidelity,
            np.maximum([fidelity - low, high - fidelity], 0),
            fmt="sDv^<>Pxd*"[number % 10],
            color="#555555",
            markersize=5,
            elinewidth=0.7,
            alpha=0.8,
            label=front.name,
        )
