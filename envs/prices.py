"""What shares of the full cost are counted in when it is not FLOPs: milliseconds of one device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from base.decisions import Decision, DecisionSpace
from base.stages import Stage
from envs.generator import Generator
from envs.replay import full_decisions


class LatencyTable(Protocol):
    """Milliseconds on one device, as calibrated; see `agents.latency.LatencyTable`."""

    @property
    def fixed_ms(self) -> float:
        """What is paid whatever is decided."""

    @property
    def decision_ms(self) -> float:
        """What one decision takes: features, observation and policy."""

    def stage_ms(self, stage: str, decision: Decision) -> float:
        """What one stage takes under a complete decision."""

    def latency_ms(self, request: Any, decisions: Sequence[Decision], asked: int = 0) -> float:
        """What the request takes under these decisions, one per stage, all fixed parts included.

        `asked` is how often a policy was asked.
        """


@dataclass(frozen=True)
class Prices:
    """Milliseconds instead of FLOPs: what the user waits for, the policy itself included.

    Attributes:
        table: has the milliseconds.
        space: completes decisions.
        first_controlled_stage: from there on every stage also pays for being decided.
    """

    table: LatencyTable
    space: DecisionSpace
    first_controlled_stage: int

    @classmethod
    def of(cls, settings: Any, generator: Generator) -> "Prices | None":
        """Those of these settings; None where FLOPs count."""
        if settings.cost != "latency":
            return None
        first = settings.first_controlled_stage
        return cls(settings.latency_table, generator.decision_space, first)

    def full(self, stages: Sequence[Stage]) -> tuple[list[float], float]:
        """Milliseconds of each stage with nothing pruned and nobody asked, and of the whole."""
        full = self.space.complete({})
        prices = [self.table.stage_ms(stage.name, full) for stage in stages]
        return prices, self.table.fixed_ms + sum(prices)

    def stage(self, name: str, number: int, decision: Decision) -> float:
        """Milliseconds of one stage under a decision."""
        asked = number >= self.first_controlled_stage
        price = self.table.stage_ms(name, self.space.complete(decision))
        return price + (self.table.decision_ms if asked else 0.0)


def told_latency(settings: Any, generator: Generator, episode: Any) -> dict[str, float]:
    """What the last info tells of an episode's milliseconds; nothing without a table."""
    table: LatencyTable | None = settings.latency_table
    if table is None:
        return {}
    full = full_decisions(generator, len(episode.stages))
    asked = len(episode.stages) - settings.first_controlled_stage
    return {
        "latency_ms": float(table.latency_ms(episode.request, episode.decisions, asked)),
        "full_latency_ms": float(table.latency_ms(episode.request, full)),
    }
