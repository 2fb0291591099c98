"""Methods against the best mix of fixed schedules and against the oracle: the numbers.

Glossary: N requests, P points of a front, Q budgets, R resamples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eval.front import Front, at_budgets, hypervolume, interval


def summarise_front(
    front: Front, mix: Front, oracle: Front, budgets: Sequence[float], weights: np.ndarray
) -> dict[str, Any]:
    """One method, for each figure.

    Args:
        front: of the method.
        mix: best random mix of fixed schedules, on the same requests.
        oracle: the bound, on the same requests.
        budgets: [Q] shares of the full cost at which the methods are compared.
        weights: [R, N] resamples of the requests.

    Returns:
        `points` (compute, each figure, and against the mix at the same compute), `budgets` (the
        same at given budgets), `hypervolume`, and `recovered`: the share of the gap between mix
        and oracle, over all budgets that the three reach. Each with its 95 % interval.
    """
    summary: dict[str, Any] = {"points": _points(front, mix, oracle, weights)}
    for figure in front.figures:
        one = [at_budgets(each, figure, budgets) for each in (front, mix, oracle)]  # [Q] each
        many = [at_budgets(each, figure, budgets, weights) for each in (front, mix, oracle)]
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
        summary[figure] = {
            "hypervolume": float(hypervolume(front, figure)),
            "hypervolume_ci95": interval(hypervolume(front, figure, weights)),
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
