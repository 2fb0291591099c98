"""The books of one episode: its request, what was decided at each stage, and what that cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from base.decisions import Decision
from base.stages import Stage


@dataclass
class Episode:
    """One request on its way.

    Attributes:
        request: what it is about.
        preference: the weight w.
        reference: the output with nothing pruned.
        stages: the stages of the request.
        fixed_cost_flops: what is paid whatever is decided.
        decisions: one for each stage taken, those before the first controlled one included.
        costs_flops: what each of them cost.
        total_reward: the return so far.
    """

    request: Any
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

    def saving(self, cost_flops: float) -> float:
        """The share of the request's full cost that the next stage saves at this cost."""
        stage = self.stages[len(self.costs_flops)]
        return (stage.cost_flops - cost_flops) / self.full_cost_flops

    def record(self, decision: Decision, cost_flops: float) -> None:
        """Enter one stage."""
        self.saved += self.saving(cost_flops)
        self.spent += cost_flops / self.full_cost_flops
        self.decisions.append(dict(decision))
        self.costs_flops.append(cost_flops)

    def start_info(self) -> dict[str, Any]:
        """What `reset` tells of the episode."""
        return {
            "label": self.request.label,
            "key": self.request.key,
            "seed": int(self.request.seed),
            "preference": self.preference,
        }

    def summary(self) -> dict[str, Any]:
        """What the last step tells of the whole episode."""
        return {
            **self.start_info(),
            "cost_flops": self.fixed_cost_flops + sum(self.costs_flops),
            "full_cost_flops": self.full_cost_flops,
            "saved": self.saved,
            "return": self.total_reward,
            "decisions": [dict(decision) for decision in self.decisions],
            "costs_flops": list(self.costs_flops),
        }
