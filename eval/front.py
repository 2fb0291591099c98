"""Fidelity against compute: fronts, the best mix of fixed schedules, the oracle, and the gap.

A front is what one method can reach on some requests: P points between which it may be mixed at
random. The best mix of fixed schedules is the honest rival of an adaptive policy, and the oracle,
who knows the outcome of every schedule for every request, is the bound of any.

Glossary: N requests, P points of a front, Q budgets, R resamples. Compute is a share of the full
cost of the request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PRICES = np.concatenate([[0.0], np.geomspace(1e-4, 1e2, 240)])  # fidelity for all of the compute


@dataclass(frozen=True)
class Front:
    """One method, request by request.

    Attributes:
        name: of the method.
        labels: of the points.
        compute: [N, P] cost of each request at each point.
        figures: by name, [N, P] fidelity; the primary one first.
        mixes: whether points may be mixed at random; if not, a budget gets the dearest point
            within it.
    """

    name: str
    labels: tuple[str, ...]
    compute: np.ndarray
    figures: Mapping[str, np.ndarray]
    mixes: bool = True

    def __post_init__(self) -> None:
        expected = (len(self.compute), len(self.labels))
        shapes = [self.compute.shape, *(values.shape for values in self.figures.values())]
        if any(shape != expected for shape in shapes):
            raise ValueError(f"{self.name}: arrays of shapes {shapes}; expected {expected}")

    @property
    def primary(self) -> str:
        """The name of the figure that claims rest on."""
        return next(iter(self.figures))

    def means(self, figure: str, weights: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        """Mean compute and mean fidelity of each point, [P] each.

        Args:
            figure: its name.
            weights: [R, N] of the requests, whose rows add up to 1; then [R, P] each.
        """
        fidelity = self.figures[figure]
        if weights is None:
            return self.compute.mean(0), fidelity.mean(0)
        return weights @ self.compute, weights @ fidelity


def select(
    schedules: Front, name: str, leaves: np.ndarray, labels: Sequence[str], mixes: bool = True
) -> Front:
    """A front of some schedules of another.

    Args:
        schedules: a point for each schedule.
        name: of the new method.
        leaves: [P] the same points for every request, or [N, P] for each its own.
        labels: [P] of the new points.
        mixes: see `Front`.
    """
    number = len(schedules.compute)
    chosen = np.broadcast_to(leaves, (number, leaves.shape[-1]))
    figures = {
        name: np.take_along_axis(values, chosen, 1) for name, values in schedules.figures.items()
    }
    compute = np.take_along_axis(schedules.compute, chosen, 1)
    return Front(name, tuple(labels), compute, figures, mixes)


def pareto_points(compute: np.ndarray, fidelity: np.ndarray) -> list[int]:
    """The points [P] that no cheaper or equally cheap one equals, from the cheapest to the best."""
    points: list[int] = []
    for point in np.lexsort((-fidelity, compute)).tolist():
        if not points or fidelity[point] > fidelity[points[-1]]:
            points.append(point)
    return points


def upper_hull(compute: np.ndarray, fidelity: np.ndarray) -> list[int]:
    """The points [P] that no mix of others beats, from the cheapest to the best one."""
    hull: list[int] = []
    for point in pareto_points(compute, fidelity):
        while len(hull) >= 2 and _below(compute, fidelity, hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _below(compute: np.ndarray, fidelity: np.ndarray, left: int, middle: int, right: int) -> bool:
    """Whether the middle point does not rise above the line between the others."""
    rise = (fidelity[right] - fidelity[left]) * (compute[middle] - compute[left])
    return bool((fidelity[middle] - fidelity[left]) * (compute[right] - compute[left]) <= rise)


def best_mix(training: Front, measured: Front, name: str = "best mix") -> Front:
    """The best random mix of fixed schedules: chosen on training requests, measured on others.

    Args:
        training: a point for each schedule, on the requests to choose by the primary figure.
        measured: the same schedules on the requests to be measured.
        name: of the method.
    """
    hull = upper_hull(*training.means(training.primary))
    return select(measured, name, np.array(hull), [training.labels[point] for point in hull])


def best_static(training: Front, measured: Front, name: str = "best static") -> Front:
    """As `best_mix` without mixing: for each budget one schedule."""
    points = pareto_points(*training.means(training.primary))
    labels = [training.labels[point] for point in points]
    return select(measured, name, np.array(points), labels, mixes=False)


def best_by_class(
    training: Front,
    training_classes: Sequence[str],
    measured: Front,
    classes: Sequence[str],
    name: str = "best of the class",
) -> Front:
    """For each class of requests the schedule that is best for it on average, at every price.

    Args:
        training: a point for each schedule, on the requests to choose by the primary figure.
        training_classes: of these requests, N.
        measured: the same schedules on the requests to be measured.
        classes: of those; one that training lacks gets what is best for all.
        name: of the method.
    """
    fidelity = training.figures[training.primary]
    rows = {kind: [c == kind for c in training_classes] for kind in set(training_classes)}
    worth = np.stack([fidelity - price * training.compute for price in PRICES])  # [prices, N, P]
    best = {kind: worth[:, chosen].mean(1).argmax(1) for kind, chosen in rows.items()}
    for_all = worth.mean(1).argmax(1)
    leaves = np.unique(np.stack([best.get(kind, for_all) for kind in classes]), axis=1)
    labels = [f"choice {number}" for number in range(leaves.shape[1])]
    return select(measured, name, leaves, labels)


def oracle(schedules: Front, name: str = "oracle") -> Front:
    """For each request its best schedule by the primary figure, at every price of compute."""
    fidelity = schedules.figures[schedules.primary]
    chosen = [(fidelity - price * schedules.compute).argmax(1) for price in PRICES]
    leaves, first = np.unique(np.stack(chosen, axis=1), axis=1, return_index=True)
    order = np.argsort(first)[::-1]  # dear compute first; many prices choose the same
    labels = [f"price {PRICES[first[place]]:.3g}" for place in order]
    return select(schedules, name, leaves[:, order], labels)


def at_budgets(
    front: Front, figure: str, budgets: Sequence[float], weights: np.ndarray | None = None
) -> np.ndarray:
    """[Q], or [R, Q], mean fidelity at these budgets of mean compute.

    A budget beyond the dearest point is not used up; one below the cheapest point is NaN.

    Args:
        front: with points in any order; neighbours are mixed, if the front may mix.
        figure: its name.
        budgets: [Q] shares of the full cost.
        weights: as for `Front.means`.
    """
    compute, fidelity = front.means(figure, weights)
    shape, points = compute.shape[:-1], compute.shape[-1]
    pairs = zip(compute.reshape(-1, points), fidelity.reshape(-1, points), strict=True)
    wanted = np.asarray(budgets, np.float64)
    values = [_within(wanted, *pair, front.mixes) for pair in pairs]
    return np.array(values).reshape(*shape, len(wanted))


def _within(
    budgets: np.ndarray, compute: np.ndarray, fidelity: np.ndarray, mixes: bool
) -> np.ndarray:
    order = np.argsort(compute, kind="stable")
    compute, fidelity = compute[order], fidelity[order]
    if mixes:
        values = np.interp(budgets, compute, fidelity)
    else:
        last = np.searchsorted(compute, budgets + 1e-9, side="right") - 1
        values = fidelity[np.maximum(last, 0)]
    return np.where(budgets < compute[0] - 1e-9, np.nan, values)


def hypervolume(front: Front, figure: str, weights: np.ndarray | None = None) -> np.ndarray:
    """Area that the front dominates, from fidelity 0 up and from compute 1 down: [] or [R].

    Each further budget counts with the best fidelity that is reached within it.
    """
    grid = np.linspace(0.0, 1.0, 501)
    reached = np.nan_to_num(at_budgets(front, figure, grid.tolist(), weights), nan=0.0)
    return np.trapezoid(np.maximum.accumulate(reached, axis=-1), grid, axis=-1)


def resample_weights(count: int, resamples: int, seed: int, cluster: int = 1) -> np.ndarray:
    """[R, N] how much each request counts in each bootstrap resample; rows add up to 1.

    Args:
        count: N requests.
        resamples: R.
        seed: of the draws.
        cluster: neighbours that are drawn together, as clips of one signer, who do not tell as much
            as clips of as many signers (Davison and Hinkley 1997, section 3.8).
    """
    random = np.random.default_rng(seed)
    clusters = -(-count // cluster)
    drawn = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    weights = np.repeat(drawn, cluster, axis=1)[:, :count]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def interval(values: np.ndarray, confidence: float = 0.95) -> list[float] | None:
    """Percentile interval of resampled values [R]; None where some of them do not exist."""
    if len(values) == 0 or not np.isfinite(values).all():
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return [float(low), float(high)]
