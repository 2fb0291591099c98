"""The same problem with less noise: what the learner is shown instead of the plain rewards.

How hard a request is moves its return far more than any decision does. Subtracting the most that
some fixed schedules would have earned on the same request takes that out. It is a constant of the
request and the weight, so it changes nothing about which decisions are best, only how many
episodes it takes to see it (a control variate; Sutton and Barto 2018, section 13.4). So does
subtracting the mean of other episodes of the same request at the same weight (leave-one-out, RLOO;
Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free"), and that moves on with the
policy.

And at a small weight w a wrong decision costs little return, at a large one much, so that large
weights would drown out small ones where they are learned together. Divided by w, returns are
counted in shares of compute, and mistakes weigh alike at all weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.controllers import Controller
from agents.evaluation import evaluate_controller
from base.errors import ConfigError
from envs.generator import Generator
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv
from envs.tabulated import TableGenerator

Earned = Mapping[str, np.ndarray]  # by request key [n, 2]: what n schedules save and keep


class RelativeReturn(VecEnvWrapper):
    """Subtracts what fixed schedules or the other repeats earn from every episode's last reward.

    Infos are left as they are, so everything that is logged is the return itself.

    Args:
        env: the batched environment, with the reward `pareto`. Where its `repeats` are above 1,
            the mean return of the other episodes of each group is subtracted.
        earned: for each request key [n, 2] what each of n schedules saved, and its primary
            fidelity; the best of them at the weight of the episode is subtracted. None: nothing is.
        in_compute: divide rewards by the weight of their episode, which must be above 0.

    Raises:
        ConfigError: weights that reach 0 and are to be divided by.
    """

    def __init__(self, env: PruningVecEnv, earned: Earned | None, in_compute: bool = False):
        super().__init__(env)
        self.earned, self.in_compute = earned, in_compute
        self.repeats = env.core.settings.repeats
        low = env.core.settings.preference_range[0]
        if in_compute and low <= 0:
            raise ConfigError(
                f"ppo.in_compute divides returns by the preference, which reaches {low:g}; "
                "expected a range that begins above 0"
            )

    def reset(self) -> np.ndarray:
        """Start all rows."""
        return self.venv.reset()  # type: ignore[return-value]

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; rows that ended get their relative reward."""
        assert isinstance(self.venv, PruningVecEnv)
        weights = np.array([episode.preference for episode in self.venv.core.episodes])
        observations, rewards, dones, infos = self.venv.step_wait()
        rewards = rewards.astype(np.float64)
        if self.earned is not None:
            for row in np.flatnonzero(dones).tolist():
                saved, fidelity = self.earned[infos[row]["key"]].T
                rewards[row] -= (weights[row] * saved + (1 - weights[row]) * fidelity).max()
        if self.repeats > 1:  # those of one request are equally long, so they end together
            for group in np.flatnonzero(dones).reshape(-1, self.repeats):
                returns = np.array([infos[row]["episode"]["r"] for row in group])
                rewards[group] -= (returns.sum() - returns) / (self.repeats - 1)
        if self.in_compute:
            rewards /= weights
        return observations, rewards.astype(np.float32), dones, infos


def earned_by(
    controllers: Sequence[Controller],
    generator: Generator,
    requests: Sequence[Any],
    reference_cache: ReferenceCache,
    batch_size: int = 32,
) -> Earned:
    """What fixed controllers save and keep on each request: their runs are made once."""
    # At preference 0 the return is the fidelity alone.
    pairs = []
    for controller in controllers:
        columns = evaluate_controller(
            generator, controller, requests, reference_cache, 0.0, batch_size=batch_size
        ).columns
        pairs.append(np.stack([columns["saved"], columns["return"]], axis=1))
    by_request = np.stack(pairs, axis=1)  # [N, n, 2]
    return {request.key: row for request, row in zip(requests, by_request, strict=True)}


def earned_in_table(generator: Generator, requests: Sequence[Any]) -> Earned:
    """What every schedule of a table saves and keeps on each request.

    Raises:
        ConfigError: the generator is not a table.
    """
    if not isinstance(generator, TableGenerator):
        raise ConfigError(
            "ppo.relative_to: 'table' takes every schedule of a decision table, and the generator "
            "is not one; use --generator table:FILE, or name schedules"
        )
    table = generator.table
    fidelity = next(iter(table.figures.values()))
    both = np.stack([1 - table.compute(), fidelity], axis=2)  # [N, L, 2]
    return {request.key: both[request.row] for request in requests}
