"""The books of one episode: its request, what was decided at each stage, and what that cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from base.decisions import Decision
from base.stages import Stage
from envs.prices import Prices


@dataclass
class Episode:
    """One request on its way.

    Attributes:
        request: what it is about.
        preference: the weight w.
        reference: the output with nothing pruned.
        stages: the stages of the request.
        fixed_cost_flops: what is paid whatever is decided.
        prices: what shares of the full cost are counted in, if not in FLOPs; see `envs/prices.py`.
        decisions: one for each stage taken, those before the first controlled one included.
        costs_flops: what each of them cost.
        total_reward: the return so far.
        pictures: [places, H, W, 3] of the unpruned run after its last stages; only for rewards
            that compare those, see `envs/stage_reward.py`.
        first_codes: [2 C, H, W] codes before the first decision; only for an observation of them.
    """

    request: Any
    preference: float
    reference: np.ndarray
    stages: Sequence[Stage]
    fixed_cost_flops: float
    prices: Prices | None = None
    decisions: list[dict[str, Any]] = field(default_factory=list)
    costs_flops: list[float] = field(default_factory=list)
    total_reward: float = 0.0
    pictures: np.ndarray | None = None
    first_codes: np.ndarray | None = None

    def __post_init__(self) -> None:
        full_costs = [stage.cost_flops for stage in self.stages]
        self.full_cost_flops = self.fixed_cost_flops + sum(full_costs)
        if self.prices is None:
            self._full_prices, self._full_price = full_costs, self.full_cost_flops
        else:
            self._full_prices, self._full_price = self.prices.full(self.stages)
        self.spent = 0.0
        self.saved = 0.0

    def saving(self, decision: Decision, cost_flops: float) -> float:
        """The share of the request's full cost that the next stage saves by this decision."""
        full = self._full_prices[len(self.costs_flops)]
        return (full - self._price(decision, cost_flops)) / self._full_price

    def record(self, decision: Decision, cost_flops: float) -> None:
        """Enter one stage."""
        self.saved += self.saving(decision, cost_flops)
        self.spent += self._price(decision, cost_flops) / self._full_price
        self.decisions.append(dict(decision))
        self.costs_flops.append(cost_flops)

    def _price(self, decision: Decision, cost_flops: float) -> float:
        if self.prices is None:
            return cost_flops
        number = len(self.costs_flops)
        return self.prices.stage(self.stages[number].name, number, decision)

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
