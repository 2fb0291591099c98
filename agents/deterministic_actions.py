"""What a policy does without chance, as `predict(deterministic=True)` of Stable-Baselines3 says it.

A small network beside a large model: `predict` spends more time on switching modes and on making
distributions than the network itself takes. Here only its layers are run.
"""

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from agents.policy_file import Policy
from base.one_thread import one_thread


@torch.inference_mode()
@one_thread()
def deterministic_actions(
    policy: Policy, observations: NDArray[np.float32], allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.generic]:
    """[B] numbers of the menu, or [B, D] of a box: the most probable actions.

    Args:
        policy: in evaluation mode.
        observations: [B, ...] as the environment gives them.
        allowed: [B, n], what a masked policy may choose from.
    """
    features = policy.features_extractor(torch.from_numpy(observations))
    scores = policy.action_net(policy.mlp_extractor.forward_actor(features))
    if isinstance(policy.action_space, spaces.Box):
        return np.clip(scores.numpy(), policy.action_space.low, policy.action_space.high)
    if allowed is not None:
        scores = scores.masked_fill(~torch.from_numpy(allowed), -torch.inf)
    return scores.argmax(1).numpy()
