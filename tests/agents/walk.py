"""A policy walked through the environment of its training, to compare with how it serves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.policy_file import Policy
from envs.generator import Generator
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv


def walk(
    policy: Policy,
    generator: Generator,
    requests: Sequence[Any],
    cache: ReferenceCache,
    **settings: Any,
) -> dict[str, dict[str, Any]]:
    """The `episode_summary` of each request, by its key."""
    env = PruningVecEnv(
        generator, requests, len(requests), shuffle=False, reference_cache=cache, **settings
    )
    env.seed(0)
    observations = env.reset()
    summaries: dict[str, dict[str, Any]] = {}
    while len(summaries) < len(requests):
        actions, _ = policy.predict(observations, deterministic=True)
        observations, _, dones, infos = env.step(actions)
        for info in np.array(infos)[dones]:
            summaries.setdefault(info["key"], info["episode_summary"])
    return summaries
