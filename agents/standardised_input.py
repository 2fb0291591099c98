"""The first layers of a policy: each column of the observation with mean 0 and deviation 1.

Codes are standardised by channel, and two convolutions make columns of them.

Columns differ much in size: a stage is 0 or 1, the weight of compute may lie between .02 and .2.
Mean and deviation are measured once, before training, and are part of the policy.
"""

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

BOUND = 5.0  # in deviations: nothing that was never seen may shout
CHANNELS = 32  # of each convolution
POOLED = 4  # the grid that the last one is averaged to, in each direction


class StandardisedInput(BaseFeaturesExtractor):
    """Observations [B, O] to [B, O]; until it is measured, they stay as they are.

    Attributes:
        flops: what is paid for one row (multiply-add = 2).
    """

    mean: Tensor
    deviation: Tensor
    flops = 0.0

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


class StandardisedCodes(StandardisedInput):
    """Codes [B, C, H, W] to columns [B, O]: the predecessor's layouts, for a small CNN."""

    def __init__(self, observation_space: spaces.Box):
        BaseFeaturesExtractor.__init__(self, observation_space, CHANNELS * POOLED**2)
        channels, height, width = observation_space.shape
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        self.layers = nn.Sequential(
            nn.Conv2d(channels, CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(POOLED),
            nn.Flatten(),
        )
        self.flops = 0.0
        for entering in (channels, CHANNELS):
            height, width = (height + 1) // 2, (width + 1) // 2
            self.flops += 2.0 * 9 * entering * CHANNELS * height * width

    def forward(self, observations: Tensor) -> Tensor:
        """[B, C, H, W] to [B, O]."""
        per_channel = super().forward(observations.movedim(1, -1)).movedim(-1, 1)
        columns: Tensor = self.layers(per_channel)
        return columns

    def measure(self, observations: np.ndarray) -> None:
        """Take mean and deviation of each channel from observations [n, C, H, W]."""
        super().measure(np.moveaxis(observations, 1, -1).reshape(-1, observations.shape[1]))


def input_layer(observation_space: spaces.Space) -> type[StandardisedInput]:
    """The first layers for observations of this shape: columns [O], or codes [C, H, W]."""
    assert observation_space.shape is not None
    return StandardisedInput if len(observation_space.shape) == 1 else StandardisedCodes


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
