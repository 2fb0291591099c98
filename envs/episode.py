"""The books of one episode: its request, what was decided at each stage, and what that cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from base.decisions import Decision
from base.stages import Stage
from envs.settings import LatencyTable


@dataclass
class Episode:
    """One request on its way.

    Attributes:
        request: what it is about.
        index: its number in the list of requests; `None` if it came from elsewhere.
        preference: the weight w.
        reference: the output with nothing pruned.
        stages: the stages of the request.
        fixed_cost_flops: what is paid whatever is decided.
        decisions: one for each stage taken, those before the first controlled one included.
        costs_flops: what each of them cost.
        total_reward: the return so far.
    """

    request: Any
    index: int | None
    preference: float
    reference: np.ndarray
    stages: Sequence[Stage]
    fixed_cost_flops: float
    decisions: list[dict[str, Any]] = field(default_factory=list)
    costs_flops: list[float] = field(default_factory=list)
    total_reward: float = 0.0

    def __post_init__(self) -> None:
        self.full_cost_flops = self.fixed_cost_flops + sum(s.cost_flops for s in self.stages)
        self.spent = 0.0
        self.saved = 0.0

    def record(self, decision: Decision, cost_flops: float) -> float:
        """Enter one stage; returns the share of the request's full cost that it saved."""
        saved = (self.stages[len(self.costs_flops)].cost_flops - cost_flops) / self.full_cost_flops
        self.decisions.append(dict(decision))
        self.costs_flops.append(cost_flops)
        self.spent += cost_flops / self.full_cost_flops
        self.saved += saved
        return saved

    def start_info(self) -> dict[str, Any]:
        """What `reset` tells of the episode."""
        return {
            "label": self.request.label,
            "key": self.request.key,
            "seed": int(self.request.seed),
            "preference": self.preference,
        }

    def summary(
        self, figures: dict[str, float], latency_table: LatencyTable | None
    ) -> dict[str, Any]:
        """What the last step tells of the whole episode.

        Args:
            figures: fidelity of the output by name, such as `ssim` and `psnr`.
            latency_table: gives `latency_ms` of these decisions, if there is one.
        """
        summary = {
            **self.start_info(),
            **figures,
            "cost_flops": self.fixed_cost_flops + sum(self.costs_flops),
            "full_cost_flops": self.full_cost_flops,
            "saved": self.saved,
            "return": self.total_reward,
            "decisions": [dict(decision) for decision in self.decisions],
            "costs_flops": list(self.costs_flops),
        }
        if latency_table is not None:
            summary["latency_ms"] = float(latency_table.latency_ms(self.request, self.decisions))
        return summary
