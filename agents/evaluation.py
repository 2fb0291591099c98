"""How good a controller is on held-out requests: what it saves, and what is left of the output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.controllers import Controller
from agents.rollout import Result, run_controller
from base.decisions import Decision
from envs.final_fidelity import Scorer, final_fidelity
from envs.generator import Generator
from envs.prices import LatencyTable
from envs.references import ReferenceCache


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        results: one a request.
        references: the same requests with nothing pruned.
        columns: [N] float64 for each figure: `return`, `saved`, fidelity, what scorers add.
    """

    results: tuple[Result, ...]
    references: tuple[np.ndarray, ...]
    columns: Mapping[str, np.ndarray]

    @property
    def means(self) -> dict[str, float]:
        """The mean of each figure."""
        return {name: float(column.mean()) for name, column in self.columns.items()}

    def ratios(self) -> dict[str, list[float]]:
        """The prune ratios that were chosen, by name of the stage."""
        found: dict[str, list[float]] = {}
        for result in self.results:
            for name, decision in zip(result.stage_names, result.decisions, strict=True):
                found.setdefault(name, []).append(float(decision.get("prune_ratio", 0.0)))
        return found


def evaluate_controller(
    generator: Generator,
    controller: Controller,
    requests: Sequence[Any],
    reference_cache: ReferenceCache,
    preference: float,
    batch_size: int = 16,
    scorers: Sequence[Scorer] = (),
    latency_table: LatencyTable | None = None,
    cost: str = "flops",
) -> Evaluation:
    """Generate the requests and compare with their references.

    Args:
        generator: makes the outputs.
        controller: what is evaluated.
        requests: N held-out requests.
        reference_cache: has or makes the references.
        preference: the weight of the return, from 0 (fidelity) to 1 (compute).
        batch_size: how many are generated together.
        scorers: further figures, for images.
        latency_table: gives `latency_saved_ms`.
        cost: what the return counts, `flops` or `latency`.
    """
    references = reference_cache.get(generator, requests)
    results = list(run_controller(generator, controller, requests, batch_size))
    outputs = [result.output for result in results]
    labels = [request.label for request in requests]
    figures = final_fidelity(generator, outputs, references, scorers, labels)
    primary = next(iter(figures.values()))
    saved = np.array([_saved_by_decisions(generator, result) for result in results])
    milliseconds: dict[str, np.ndarray] = {}
    if latency_table is not None:
        pairs = np.array([_saved_ms(generator, latency_table, controller, r) for r in results])
        milliseconds["latency_saved_ms"] = pairs[:, 0]
        if cost == "latency":
            saved = pairs[:, 0] / pairs[:, 1]
    columns = {
        "return": preference * saved + (1 - preference) * primary,
        "saved": np.array([result.saved for result in results]),
        **figures,
        **milliseconds,
    }
    return Evaluation(tuple(results), tuple(references), columns)


def _saved_by_decisions(generator: Generator, result: Result) -> float:
    """The share of the full cost that the environment would have paid for saving."""
    full = sum(stage.cost_flops for stage in generator.stages(result.request))
    return (full - sum(result.stage_costs_flops)) / result.full_cost_flops


def _saved_ms(
    generator: Generator, table: LatencyTable, controller: Controller, result: Result
) -> tuple[float, float]:
    """Milliseconds less than with nothing pruned, and those; a policy's own time is counted."""
    full: list[Decision] = [generator.decision_space.complete({})] * len(result.decisions)
    decides = controller.flops_per_decision > 0
    asked = len(result.decisions) - controller.first_controlled_stage if decides else 0
    full_ms = table.latency_ms(result.request, full)
    return full_ms - table.latency_ms(result.request, result.decisions, asked), full_ms
