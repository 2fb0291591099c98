"""The first layer of a policy: each column of the observation with mean 0 and deviation 1.

Columns differ much in size: a stage is 0 or 1, the weight of compute may lie between .02 and .2.
Mean and deviation are measured once, before training, and are part of the policy.
"""

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

BOUND = 5.0  # in deviations: nothing that was never seen may shout


class StandardisedInput(BaseFeaturesExtractor):
    """Observations [B, O] to [B, O]; until it is measured, they stay as they are."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, observation_space: spaces.Box):
        columns = observation_space.shape[0]
        super().__init__(observation_space, columns)
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))

    def forward(self, observations: Tensor) -> Tensor:
        """Standardise [B, O]."""
        return ((observations - self.mean) / self.deviation).clamp(-BOUND, BOUND)

    def measure(self, observations: np.ndarray) -> None:
        """Take mean and deviation from observations [n, O]; columns that never change stay at 0."""
        deviation = observations.std(axis=0)
        deviation[deviation < 1e-4] = 1.0
        self.mean.copy_(torch.from_numpy(observations.mean(axis=0)))
        self.deviation.copy_(torch.from_numpy(deviation))


def observe_random_actions(env: VecEnv, episodes: int, seed: int) -> np.ndarray:
    """Observations [n, O] of that many episodes or more, under random actions.

    Args:
        env: is left in the middle of episodes; reset it before use.
        episodes: how many must have ended.
        seed: of actions and of the environment.
    """
    env.action_space.seed(seed)
    env.seed(seed)
    seen = [env.reset()]
    ended = 0
    while ended < episodes:
        actions = np.stack([env.action_space.sample() for _ in range(env.num_envs)])
        observations, _, dones, _ = env.step(actions)
        seen.append(np.asarray(observations))
        ended += int(dones.sum())
    return np.concatenate([np.asarray(observations) for observations in seen])
