"""Fidelity against compute: fronts, the best mix of fixed schedules, the oracle, and the gap.

A front is what one method can reach on some requests: P points between which it may be mixed at
random. The best mix of fixed schedules is the honest rival of an adaptive policy, and the oracle,
who knows the outcome of every schedule for every request, is the bound of any.

Glossary: N requests, L schedules, P points of a front, Q budgets. Compute is a share of the full
cost of the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRICES = np.concatenate([[0.0], np.geomspace(1e-4, 1e2, 240)])  # fidelity for all of the compute


@dataclass(frozen=True)
class Front:
    """One method, request by request.

    Attributes:
        name: of the method.
        compute: [N, P] cost of each request at each point.
        fidelity: [N, P].
        labels: of the points.
    """

    name: str
    compute: np.ndarray
    fidelity: np.ndarray
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = (len(self.compute), len(self.labels))
        if self.compute.shape != expected or self.fidelity.shape != expected:
            raise ValueError(
                f"{self.name}: compute {self.compute.shape} and fidelity {self.fidelity.shape}; "
                f"expected {expected}"
            )

    def means(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean compute and mean fidelity of each point, [P] each.

        Args:
            weights: [..., N] of the requests, that add up to 1; then [..., P].
        """
        if weights is None:
            return self.compute.mean(0), self.fidelity.mean(0)
        return weights @ self.compute, weights @ self.fidelity


def upper_hull(compute: np.ndarray, fidelity: np.ndarray) -> list[int]:
    """The points [P] that no mix of others beats, from the cheapest to the best one."""
    hull: list[int] = []
    for point in np.lexsort((-fidelity, compute)).tolist():
        if hull and fidelity[point] <= fidelity[hull[-1]]:
            continue
        while len(hull) >= 2 and _below(compute, fidelity, hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _below(compute: np.ndarray, fidelity: np.ndarray, left: int, middle: int, right: int) -> bool:
    """Whether the middle point does not rise above the line between the others."""
    rise = (fidelity[right] - fidelity[left]) * (compute[middle] - compute[left])
    return bool((fidelity[middle] - fidelity[left]) * (compute[right] - compute[left]) <= rise)


def mix_front(
    training: Front, compute: np.ndarray, fidelity: np.ndarray, name: str = "best mix"
) -> Front:
    """The best random mix of fixed schedules: chosen on training requests, measured on others.

    Args:
        training: a point for each of L schedules.
        compute: [N, L] of the same schedules on the requests to be measured.
        fidelity: [N, L].
        name: of the method.
    """
    hull = upper_hull(*training.means())
    labels = tuple(training.labels[point] for point in hull)
    return Front(name, compute[:, hull], fidelity[:, hull], labels)


def oracle_front(compute: np.ndarray, fidelity: np.ndarray, name: str = "oracle") -> Front:
    """The best schedule of each request at every price of compute.

    Args:
        compute: [N, L] of all schedules.
        fidelity: [N, L].
        name: of the method.
    """
    rows = np.arange(len(compute))
    chosen = np.stack([(fidelity - price * compute).argmax(1) for price in PRICES], axis=1)
    _, first = np.unique(chosen, axis=1, return_index=True)  # many prices choose the same
    order = np.sort(first)[::-1]  # dear compute first
    leaves = chosen[:, order]
    labels = tuple(f"price {PRICES[number]:.3g}" for number in order)
    return Front(name, compute[rows[:, None], leaves], fidelity[rows[:, None], leaves], labels)


def at_budgets(
    front: Front, budgets: Sequence[float] | np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """[..., Q] mean fidelity at these budgets of mean compute, from mixing neighbouring points.

    A budget beyond the dearest point is not used up; one below the cheapest point is NaN.

    Args:
        front: with points in any order.
        budgets: [Q] shares of the full cost.
        weights: as for `Front.means`; [R, N] for R resamples.
    """
    compute, fidelity = front.means(weights)
    budgets = np.asarray(budgets, np.float64)
    if compute.ndim == 1:
        return _interpolate(budgets, compute, fidelity)
    return np.stack([_interpolate(budgets, c, f) for c, f in zip(compute, fidelity, strict=True)])


def _interpolate(budgets: np.ndarray, compute: np.ndarray, fidelity: np.ndarray) -> np.ndarray:
    order = np.argsort(compute, kind="stable")
    compute, fidelity = compute[order], fidelity[order]
    values = np.interp(budgets, compute, fidelity)
    return np.where(budgets < compute[0] - 1e-9, np.nan, values)


def hypervolume(front: Front, weights: np.ndarray | None = None) -> np.ndarray:
    """Area that the front dominates, from fidelity 0 up and from compute 1 down: [] or [R].

    Each further budget counts with the best fidelity that is reached within it.
    """
    compute, fidelity = front.means(weights)
    grid = np.linspace(0.0, 1.0, 1001)
    shape, points = compute.shape[:-1], compute.shape[-1]
    areas = []
    for c, f in zip(compute.reshape(-1, points), fidelity.reshape(-1, points), strict=True):
        reached = np.nan_to_num(_interpolate(grid, c, f), nan=0.0)
        areas.append(np.trapezoid(np.maximum.accumulate(reached), grid))
    return np.array(areas).reshape(shape)


def resample_weights(count: int, resamples: int, seed: int) -> np.ndarray:
    """[R, N] how much each request counts in each bootstrap resample; rows add up to 1."""
    random = np.random.default_rng(seed)
    return random.multinomial(count, np.full(count, 1 / count), size=resamples) / count


def interval(values: np.ndarray, confidence: float = 0.95) -> list[float] | None:
    """Percentile interval of resampled values [R]; None where some of them do not exist."""
    if len(values) == 0 or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(low), float(high)]
