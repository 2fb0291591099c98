"""Less noise for the learner: returns relative to what a fixed schedule earns on the same request.

How hard a request is moves its return far more than any decision does. Subtracting what one fixed
schedule would have earned takes that out. It is a constant of the request and the preference, so
it changes nothing about which decisions are best, only how many episodes it takes to see it
(a control variate; Sutton and Barto 2018, section 13.4).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.controllers import Controller
from agents.evaluation import evaluate_controller
from envs.generator import Generator
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv


class RelativeReturn(VecEnvWrapper):
    """Subtracts the fixed schedule's return from the last reward of every episode.

    Infos are left as they are, so everything that is logged is the return itself.

    Args:
        env: the batched environment.
        earned: for each request key what the schedule saved, and its primary fidelity.
    """

    def __init__(self, env: PruningVecEnv, earned: Mapping[str, tuple[float, float]]):
        super().__init__(env)
        self.earned = earned

    def reset(self) -> np.ndarray:
        """Start all rows."""
        return self.venv.reset()  # type: ignore[return-value]

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; rows that ended get their relative reward."""
        observations, rewards, dones, infos = self.venv.step_wait()
        rewards = rewards.copy()
        for row in np.flatnonzero(dones).tolist():
            saved, fidelity = self.earned[infos[row]["key"]]
            weight = infos[row]["preference"]
            rewards[row] -= weight * saved + (1 - weight) * fidelity
        return observations, rewards, dones, infos


def earned_by(
    controller: Controller,
    generator: Generator,
    requests: Sequence[Any],
    reference_cache: ReferenceCache,
    batch_size: int = 32,
) -> dict[str, tuple[float, float]]:
    """What a fixed controller saves and keeps on each request: its runs are made once."""
    # At preference 0 the return is the fidelity alone.
    columns = evaluate_controller(
        generator, controller, requests, reference_cache, 0.0, batch_size=batch_size
    ).columns
    pairs = zip(columns["saved"].tolist(), columns["return"].tolist(), strict=True)
    return dict(zip([request.key for request in requests], pairs, strict=True))
