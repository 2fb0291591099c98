"""The picture of a comparison: fidelity against compute, method by method."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from base.files import write_atomic
from eval.front import Front, interval

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")


def draw_fronts(
    curves: Sequence[Front],
    points: Sequence[Front],
    figure: str,
    weights: np.ndarray,
    path: Path,
) -> Path:
    """Draw curves with bands, and lone points with bars, that hold 95 % of the resamples.

    Args:
        curves: methods whose points may be mixed: mix, oracle, policies.
        points: fixed controllers.
        figure: what is drawn upwards.
        weights: [R, N] resamples.
        path: of the PNG.
    """
    canvas = Figure(figsize=(8, 5), dpi=140)
    axes = canvas.subplots()
    for number, front in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        compute, fidelity, low, high = _with_bounds(front, figure, weights)
        order = np.argsort(compute)
        axes.plot(
            compute[order], fidelity[order], "o-", color=colour, markersize=3.5, label=front.name
        )
        axes.fill_between(compute[order], low[order], high[order], color=colour, alpha=0.15, lw=0)
    for number, front in enumerate(points):
        compute, fidelity, low, high = _with_bounds(front, figure, weights)
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
    axes.set_xlabel("compute, share of the full cost (text, decoding and policy included)")
    axes.set_ylabel(f"{figure} against the unpruned image")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, loc="lower right")
    canvas.tight_layout()
    write_atomic(path, lambda target: canvas.savefig(target, format="png"))
    return path


def _with_bounds(front: Front, figure: str, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean compute, mean fidelity, and the bounds of the latter; [P] each."""
    compute, fidelity = front.means(figure)
    _, resampled = front.means(figure, weights)
    bounds = [interval(column) or (np.nan, np.nan) for column in resampled.T]
    low, high = np.array(bounds).T
    return compute, fidelity, low, high
