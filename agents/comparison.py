"""Controllers side by side on the same held-out requests, and whether they truly adapt.

Glossary: N requests, P points of a front (one controller each).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.controllers import Controller, Situation
from agents.rollout import Result, run_controller
from base.decisions import Decision
from base.errors import ConfigError, GenerationError
from envs.final_fidelity import final_fidelity
from envs.generator import Generator
from envs.latent_observation import VECTORS
from envs.references import ReferenceCache
from envs.tabulated import TableGenerator
from eval.front import Front
from eval.statistics import bootstrap_interval


@dataclass(frozen=True)
class Measured:
    """One method.

    Attributes:
        front: a point for each of its controllers.
        decisions: for each point, those of each request.
    """

    front: Front
    decisions: tuple[tuple[tuple[dict[str, Any], ...], ...], ...]


class Bench:
    """The requests that all methods are measured on.

    Args:
        generator: makes the outputs.
        table: of the same generator; outputs that it knows are looked up instead of made. None:
            all are made.
        requests: N held-out requests of the generator, all in the table if there is one.
        reference_cache: has or makes their references.
        batch_size: how many are generated together.

    Raises:
        ConfigError: the table is of another generator.
    """

    def __init__(
        self,
        generator: Generator,
        table: TableGenerator | None,
        requests: Sequence[Any],
        reference_cache: ReferenceCache,
        batch_size: int = 16,
    ) -> None:
        if table is not None and table.fingerprint != generator.fingerprint:
            raise ConfigError(
                f"the table is of a generator with fingerprint {table.fingerprint}; this one has "
                f"{generator.fingerprint}. Tabulate this one"
            )
        self.generator = generator
        self.table = table
        self.requests = list(requests)
        self.looked_up = [] if table is None else [table.request(r.label, r.seed) for r in requests]
        self.reference_cache = reference_cache
        self.batch_size = batch_size

    def measure(self, name: str, controllers: Mapping[str, Controller]) -> Measured:
        """Run controllers, by the labels of their points, and compare with the references."""
        runs = [self._run(controller) for controller in controllers.values()]
        compute = [[1 - result.saved for result in results] for results, _ in runs]
        figures = {
            figure: np.stack([found[figure] for _, found in runs], axis=1) for figure in runs[0][1]
        }
        front = Front(name, tuple(controllers), np.array(compute).T, figures)
        decisions = tuple(tuple(result.decisions for result in results) for results, _ in runs)
        return Measured(front, decisions)

    def _run(self, controller: Controller) -> tuple[list[Result], dict[str, np.ndarray]]:
        """Results and [N] of each figure."""
        shown = controller.obs_mode in VECTORS  # a table has no codes to look at
        found = self._looked_up(self.table, controller) if self.table and shown else None
        if found is not None:
            return found
        results = list(run_controller(self.generator, controller, self.requests, self.batch_size))
        outputs = [result.output for result in results]
        references = self.reference_cache.get(self.generator, self.requests)
        return results, final_fidelity(self.generator, outputs, references)

    def _looked_up(
        self, table: TableGenerator, controller: Controller
    ) -> tuple[list[Result], dict[str, np.ndarray]] | None:
        """The same from the table; None where it lacks some decision."""
        known = KnownDecisions(controller, table)
        try:
            results = list(run_controller(table, known, self.looked_up, self.batch_size))
        except GenerationError:
            return None
        return results, table.known_fidelity([result.output for result in results])


class KnownDecisions:
    """A controller on a table: what the table lacks is an error, so that the outputs are made.

    A decision that the table has and the generator forbids (a stage that cannot be skipped) is
    replaced as ever, where the table has all that may replace it.

    Args:
        inner: decides.
        table: of the generator that it decides for.
    """

    def __init__(self, inner: Controller, table: TableGenerator) -> None:
        self.name, self.identity, self.obs_mode = inner.name, inner.identity, inner.obs_mode
        self.flops_per_decision = inner.flops_per_decision
        self.first_controlled_stage = inner.first_controlled_stage
        self._inner, self._complete = inner, table.decision_space.complete
        self._known = [self._complete(decision) for decision in table.decision_space.menu]
        replacements = inner.replacements or ()
        has_all = all(self._complete(each) in self._known for each in replacements)
        self.replacements = replacements if replacements and has_all else None

    def decide(self, situation: Situation) -> list[Decision]:
        """Ask, and refuse what the table lacks."""
        decisions = self._inner.decide(situation)
        lacking = [d for d in decisions if self._complete(d) not in self._known]
        if lacking:
            raise GenerationError(f"the table does not have {dict(lacking[0])}")
        return decisions


class ListedDecisions:
    """Decisions that are known beforehand, request by request.

    Args:
        decisions: by key of the request, one for each stage.
    """

    name = identity = "listed"
    flops_per_decision = 0.0
    first_controlled_stage = 0
    replacements: tuple[Decision, ...] | None = None
    obs_mode = "vector"

    def __init__(self, decisions: Mapping[str, Sequence[Decision]]) -> None:
        self.decisions = decisions

    def decide(self, situation: Situation) -> list[Decision]:
        """Look up."""
        pairs = zip(situation.requests, situation.stage, strict=True)
        return [self.decisions[request.key][stage] for request, stage in pairs]


def swap_partners(
    compute: np.ndarray, decisions: Sequence[Any], tolerance: float, seed: int
) -> np.ndarray:
    """Pairs of requests of about equal cost, with equally many stages, that were decided otherwise.

    Partners are each other's, so that all requests together cost after a swap what they cost
    before. Those nearest in cost are paired first.

    Args:
        compute: [N] cost of each request as a share of its full cost.
        decisions: [N] what was decided at each stage of each.
        tolerance: how far the costs of partners may differ.
        seed: decides between pairs whose costs differ by equally much, within .01.

    Returns:
        [N] int64 places of partners, -1 where there is none.
    """
    number = len(compute)
    first, second = np.triu_indices(number, k=1)
    distance = np.abs(compute[first] - compute[second])
    shuffle = np.random.default_rng(seed).permutation(len(first))
    order = shuffle[np.argsort((distance[shuffle] / 0.01).astype(int), kind="stable")]
    partners = np.full(number, -1)
    for pair in order.tolist():
        one, other = int(first[pair]), int(second[pair])
        free = partners[one] < 0 and partners[other] < 0
        fits = len(decisions[one]) == len(decisions[other]) and distance[pair] <= tolerance
        if free and fits and decisions[one] != decisions[other]:
            partners[one], partners[other] = other, one
    return partners


def swap_test(
    bench: Bench, measured: Measured, tolerance: float, resamples: int, seed: int
) -> dict[str, Any]:
    """Give each request the decisions of another one of about equal cost: does fidelity fall?

    It falls where a method knows which request needs what, and not only how much in all.

    Args:
        bench: the requests.
        measured: the method.
        tolerance: how far the costs of two partners may differ, as a share of the full cost.
        resamples: for the interval of the mean over requests.
        seed: of partners and resamples.

    Returns:
        For each point and over all of them: how many requests have a partner, and the means of
        `own` and `swapped` fidelity and compute with the paired `difference` and its interval.
    """
    figure = measured.front.primary
    own_fidelity, own_compute = measured.front.figures[figure], measured.front.compute
    points, differences, costs = [], [], []
    for point, label in enumerate(measured.front.labels):
        decisions = measured.decisions[point]
        partners = swap_partners(own_compute[:, point], decisions, tolerance, seed)
        paired = partners >= 0
        listed = {
            request.key: decisions[partner if partner >= 0 else place]
            for place, (request, partner) in enumerate(zip(bench.requests, partners, strict=True))
        }
        front = bench.measure("swapped", {label: ListedDecisions(listed)}).front
        difference = np.where(paired, front.figures[figure][:, 0] - own_fidelity[:, point], np.nan)
        # the controller's own compute is in the one and not in the other
        own_cost = bench.measure("own", {label: _listed(bench, decisions)}).front.compute[:, 0]
        cost = np.where(paired, front.compute[:, 0] - own_cost, np.nan)
        points.append({"point": label, **_paired(difference, cost, resamples, seed)})
        differences.append(difference)
        costs.append(cost)
    # Every swap counts alike, and requests are what is drawn: each brings all of its swaps.
    swaps = np.isfinite(differences)  # [P, N]
    any_point = swaps.any(axis=0)
    scale = any_point.sum() / max(swaps.sum(), 1)
    totals = [
        np.where(any_point, np.nansum(columns, axis=0) * scale, np.nan)
        for columns in (differences, costs)
    ]
    return {
        "figure": figure,
        "tolerance": tolerance,
        "points": points,
        "all_points": _paired(totals[0], totals[1], resamples, seed),
    }


def _listed(bench: Bench, decisions: Sequence[Any]) -> ListedDecisions:
    keys = [request.key for request in bench.requests]
    return ListedDecisions(dict(zip(keys, decisions, strict=True)))


def _paired(difference: np.ndarray, cost: np.ndarray, resamples: int, seed: int) -> dict[str, Any]:
    """Counts and means of the requests that have a partner (others are NaN)."""
    paired = np.isfinite(difference)
    if not paired.any():
        return {"requests": 0, "difference": None, "ci95": None, "compute_difference": None}
    interval = bootstrap_interval(difference[paired], resamples, seed)
    return {
        "requests": int(paired.sum()),
        "difference": float(difference[paired].mean()),
        "ci95": None if interval is None else list(interval),
        "compute_difference": float(cost[paired].mean()),
    }
