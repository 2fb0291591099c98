"""`MultiObjectivePruningEnv`: the same environment with a reward for each objective."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from base.errors import ConfigError
from envs.generator import Generator, Request
from envs.pictures import shows_pictures
from envs.pruning_env import PruningEnv
from eval.fidelity import PRIMARY, PSNR_CAP_DB

SAVED = "saved"
_BOUNDS = {SAVED: (-1.0, 1.0), "psnr": (0.0, PSNR_CAP_DB)}


class MultiObjectivePruningEnv(PruningEnv):
    """`PruningEnv` in the form of MO-Gymnasium: `step` gives a vector, one entry an objective.

    `saved` is the share of the request's full cost that the stage saved. Every other objective is a
    figure of the final output, 0 before the last step; one that falls as outputs improve (LPIPS)
    counts as 1 - its value. `mo_gymnasium.wrappers.LinearReward(env, [w, 1 - w])` over the default
    objectives is `prunegym/InfinityPruning-v0` with `preference=w`.

    Args:
        generator: makes the outputs.
        requests: what episodes are drawn from.
        objectives: `saved` and names of figures; those beside the generator's own (`ssim`, `psnr`)
            need a scorer. Default: `saved` and the primary figure.
        **settings: as in `PruningEnv`; `reward` and `fidelity` play no part.

    Attributes:
        objectives: their names, in order.
        reward_space: a `Box` with an entry for each.
        reward_dim: how many there are.

    Raises:
        ConfigError: no objective, or one twice.
    """

    def __init__(
        self,
        generator: Generator,
        requests: Sequence[Request],
        objectives: Sequence[str] | None = None,
        **settings: Any,
    ):
        super().__init__(generator, requests, **settings)
        kind = "image" if shows_pictures(generator) else generator.output_kind
        self.objectives = tuple(objectives or (SAVED, PRIMARY.get(kind, "ssim")))
        if len(set(self.objectives)) != len(self.objectives):
            raise ConfigError(f"objectives are {list(self.objectives)}; expected different ones")
        self._falling = {s.name for s in self.core.settings.scorers if not s.higher_is_better}
        self.reward_dim = len(self.objectives)
        low, high = zip(*(self._bounds(name) for name in self.objectives), strict=True)
        self.reward_space = spaces.Box(np.array(low, np.float32), np.array(high, np.float32))

    def step(  # type: ignore[override]
        self, action: Any
    ) -> tuple[np.ndarray, np.ndarray, bool, bool, dict[str, Any]]:
        """Take one stage; the reward is [objectives] float32."""
        observation, _, terminated, truncated, info = super().step(action)
        rewards = np.zeros(self.reward_dim, np.float32)
        for number, name in enumerate(self.objectives):
            if name == SAVED:
                rewards[number] = info["stage_saved"]
            elif terminated:
                rewards[number] = self._figure(info["episode_summary"], name)
        return observation, rewards, terminated, truncated, info

    def _figure(self, summary: dict[str, Any], name: str) -> float:
        if name not in summary:
            raise ConfigError(
                f"objective {name!r} is not among the figures of this episode, {sorted(summary)}; "
                "pass a scorer for it"
            )
        return 1 - summary[name] if name in self._falling else summary[name]

    def _bounds(self, name: str) -> tuple[float, float]:
        if name in self._falling:
            return -np.inf, 1.0
        own = name in PRIMARY.values()
        return _BOUNDS.get(name, (-1.0, 1.0) if own else (-np.inf, np.inf))
