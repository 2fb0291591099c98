"""Methods against the best mix of fixed schedules and against the oracle: the numbers.

A method that is learned has a front for each of its trainings; what is said of it is the mean over
them, and its intervals hold what other prompts and other trainings would have given.

Glossary: N requests, P points of a front, Q budgets, R resamples, S trainings.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eval.front import Front, at_budgets, hypervolume, interval

Measure = Callable[[Front, np.ndarray | None], np.ndarray]  # with weights, [R, ...]


def over_trainings(
    fronts: Sequence[Front], measure: Measure, weights: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of a measure over trainings, [...], and resampled, [R, ...].

    Args:
        fronts: S, one a training.
        measure: what is measured, of a front and weights of requests.
        weights: [R, N] resamples of the requests; each draws S of the trainings as well.
        seed: of these draws.
    """
    one = np.mean([measure(front, None) for front in fronts], axis=0)
    each = np.stack([measure(front, weights) for front in fronts])  # [S, R, ...]
    trainings, resamples = each.shape[:2]
    drawn = np.random.default_rng(seed).integers(trainings, size=(trainings, resamples))
    return one, each[drawn, np.arange(resamples)].mean(axis=0)


def summarise_front(
    fronts: Sequence[Front],
    mix: Front,
    oracle: Front,
    budgets: Sequence[float],
    weights: np.ndarray,
) -> dict[str, Any]:
    """One method, for each figure.

    Args:
        fronts: of the method, one for each training; of a method that is not learned, one.
        mix: best random mix of fixed schedules, on the same requests.
        oracle: the bound, on the same requests.
        budgets: [Q] shares of the full cost at which the methods are compared.
        weights: [R, N] resamples of the requests.

    Returns:
        `trainings`, `points` (compute, each figure, and against the mix at the same compute),
        `budgets` (the same at given budgets), `hypervolume`, and `recovered`: the share of the gap
        between mix and oracle, over all budgets that the three reach. Each with its 95 % interval.
    """
    points = [
        {"training": number, **point}
        for number, front in enumerate(fronts)
        for point in _points(front, mix, oracle, weights)
    ]
    summary: dict[str, Any] = {"trainings": len(fronts), "points": points}
    for figure in mix.figures:

        def budget_values(
            front: Front, resamples: np.ndarray | None, figure: str = figure
        ) -> np.ndarray:
            return at_budgets(front, figure, budgets, resamples)

        def volume(front: Front, resamples: np.ndarray | None, figure: str = figure) -> np.ndarray:
            return hypervolume(front, figure, resamples)

        several = (fronts, [mix], [oracle])
        one, many = zip(*(over_trainings(f, budget_values, weights) for f in several), strict=True)
        # A resample may just miss the cheapest budget: what counts is what all of them reach.
        reached = np.isfinite(np.concatenate([np.stack(one)[:, None], many], axis=1))
        reached = reached.all(axis=(0, 1))  # [Q]
        rows = [
            {
                "budget": float(budget),
                "fidelity": _number(one[0][place]),
                "fidelity_ci95": interval(many[0][:, place]),
                "mix": _number(one[1][place]),
                "oracle": _number(one[2][place]),
                "minus_mix": _number(one[0][place] - one[1][place]),
                "minus_mix_ci95": interval(many[0][:, place] - many[1][:, place]),
                "recovered": _share(*(values[place] for values in one)) if reached[place] else None,
            }
            for place, budget in enumerate(budgets)
        ]
        mean_volume, volumes = over_trainings(fronts, volume, weights)
        summary[figure] = {
            "hypervolume": float(mean_volume),
            "hypervolume_ci95": interval(volumes),
            "budgets": rows,
            "recovered": _share(*(values[reached].sum() for values in one)),
            "recovered_ci95": interval(
                np.array(
                    [_ratio(*(v[r, reached].sum() for v in many)) for r in range(len(weights))]
                )
            ),
        }
    return summary


def _points(front: Front, mix: Front, oracle: Front, weights: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for point, label in enumerate(front.labels):
        compute = float(front.compute[:, point].mean())
        row: dict[str, Any] = {"point": label, "compute": compute}
        row["compute_ci95"] = interval(weights @ front.compute[:, point])
        for figure, values in front.figures.items():
            fidelity = float(values[:, point].mean())
            rivals = [float(at_budgets(each, figure, [compute])[0]) for each in (mix, oracle)]
            row |= {
                figure: fidelity,
                f"{figure}_ci95": interval(weights @ values[:, point]),
                f"{figure}_minus_mix": _number(fidelity - rivals[0]),
                f"{figure}_recovered": _share(fidelity, *rivals),
            }
        rows.append(row)
    return rows


def table_of_points(summaries: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """One row for each point of each method; intervals as two columns."""
    rows = []
    for method, summary in summaries.items():
        for point in summary["points"]:
            row: dict[str, Any] = {"method": method}
            for name, value in point.items():
                if name.endswith("_ci95"):
                    low, high = value or (None, None)
                    row |= {f"{name}_low": low, f"{name}_high": high}
                else:
                    row[name] = value
            rows.append(row)
    return pd.DataFrame(rows)


def _ratio(fidelity: float, mix: float, oracle: float) -> float:
    """Share of the gap; NaN where there is hardly one."""
    gap = oracle - mix
    return float((fidelity - mix) / gap) if gap > 1e-6 else float("nan")


def _share(fidelity: float, mix: float, oracle: float) -> float | None:
    return _number(_ratio(fidelity, mix, oracle))


def _number(value: float) -> float | None:
    """For JSON: NaN is None."""
    return float(value) if np.isfinite(value) else None
