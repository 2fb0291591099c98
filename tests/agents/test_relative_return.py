"""Returns relative to a fixed schedule: the same problem, less noise."""

import numpy as np
import pytest

from agents.parse_controller import parse_controller
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from agents.relative_return import RelativeReturn, earned_by
from base.errors import ConfigError
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv
from envs.toy import ToyGenerator, ToyRequest


def test_only_the_last_reward_moves_and_by_what_the_schedule_earned() -> None:
    generator, cache = ToyGenerator(), ReferenceCache()
    requests = [ToyRequest(index, index) for index in range(6)]
    fixed = parse_controller("schedule:tail=[0.7]", generator, requests[0])
    earned = earned_by(fixed, generator, requests, cache)
    assert set(earned) == {request.key for request in requests}
    options = {"reference_cache": cache, "preference": 0.3, "shuffle": False}
    plain = PruningVecEnv(generator, requests, 2, **options)
    relative = RelativeReturn(PruningVecEnv(generator, requests, 2, **options), earned)
    np.testing.assert_array_equal(plain.reset(), relative.reset())
    ended = 0
    for _ in range(8):
        actions = np.array([1, 2])
        observations, rewards, dones, infos = plain.step(actions)
        others = relative.step(actions)
        np.testing.assert_array_equal(observations, others[0])
        np.testing.assert_array_equal(dones, others[2])
        for row in range(2):
            expected = float(rewards[row])
            if dones[row]:
                saved, fidelity = earned[infos[row]["key"]]
                expected -= 0.3 * saved + 0.7 * fidelity
                assert others[3][row]["return"] == infos[row]["return"]
                ended += 1
            assert others[1][row] == pytest.approx(expected, abs=1e-6)
    assert ended


def test_fresh_seeds_have_no_schedule_to_be_relative_to() -> None:
    with pytest.raises(ConfigError, match="set one of the two"):
        TrainSettings(
            EnvironmentOptions(fresh_seeds=True), PPOSettings(relative_to="schedule:tail=[1]")
        )
