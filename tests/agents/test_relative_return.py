"""Returns relative to a fixed schedule: the same problem, less noise."""

import numpy as np
import pytest

from agents.parse_controller import parse_controller
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from agents.relative_return import RelativeReturn, earned_by, earned_in_table
from base.errors import ConfigError
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv
from envs.tabulate import tabulate
from envs.tabulated import TableGenerator
from envs.toy import ToyGenerator, ToyRequest


def test_only_the_last_reward_moves_and_by_what_the_schedule_earned() -> None:
    generator, cache = ToyGenerator(), ReferenceCache()
    requests = [ToyRequest(index, index) for index in range(6)]
    fixed = [
        parse_controller(f"schedule:tail=[{ratio}]", generator, requests[0]) for ratio in (0.7, 1)
    ]
    earned = earned_by(fixed, generator, requests, cache)
    assert {key: rows.shape for key, rows in earned.items()} == {r.key: (2, 2) for r in requests}
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
                both = earned[infos[row]["key"]]
                expected -= max(0.3 * saved + 0.7 * fidelity for saved, fidelity in both)
                assert others[3][row]["return"] == infos[row]["return"]
                ended += 1
            assert others[1][row] == pytest.approx(expected, abs=1e-6)
    assert ended


def test_in_shares_of_compute_rewards_are_divided_by_the_weight() -> None:
    generator, cache = ToyGenerator(), ReferenceCache()
    requests = [ToyRequest(index, index) for index in range(6)]
    options = {"reference_cache": cache, "preference": (0.01, 0.5), "shuffle": False}
    plain = PruningVecEnv(generator, requests, 2, **options)
    divided = RelativeReturn(PruningVecEnv(generator, requests, 2, **options), None, True)
    for env in (plain, divided):
        env.seed(3)
        env.reset()
    for _ in range(8):
        weights = [episode.preference for episode in plain.core.episodes]
        rewards = plain.step(np.array([1, 2]))[1]
        np.testing.assert_allclose(divided.step(np.array([1, 2]))[1], rewards / weights, rtol=1e-5)
    with pytest.raises(ConfigError, match="begins above 0"):
        RelativeReturn(PruningVecEnv(generator, requests, 2, preference=0.0), None, True)


@pytest.mark.parametrize("changes", [{}, {"fresh_seeds": True}])
def test_repeats_are_compared_with_each_other(changes: dict[str, object]) -> None:
    generator, cache = ToyGenerator(), ReferenceCache()
    requests = [ToyRequest(index, index) for index in range(6)]
    options = {"reference_cache": cache, "preference": (0.1, 0.9), "repeats": 3, **changes}
    plain, relative = (PruningVecEnv(generator, requests, 6, **options) for _ in range(2))
    compared = RelativeReturn(relative, None)
    for env in (plain, compared):
        env.seed(1)
        env.reset()
    lot, ended = np.random.default_rng(0), 0
    for _ in range(9):
        actions = lot.integers(4, size=6)
        groups = [plain.core.episodes[:3], plain.core.episodes[3:]]
        assert all(len({(e.request.key, e.preference) for e in group}) == 1 for group in groups)
        rewards, dones, infos = plain.step(actions)[1:]
        found = compared.step(actions)[1]
        for first in (0, 3):
            rows = range(first, first + 3)
            assert len(set(dones[list(rows)])) == 1
            for row in rows:
                others = [
                    infos[other]["episode"]["r"] for other in rows if other != row and dones[row]
                ]
                expected = rewards[row] - (sum(others) / 2 if others else 0)
                assert found[row] == pytest.approx(expected, abs=1e-6)
                ended += len(others)
    assert ended


def test_repeats_need_whole_groups_and_nothing_else_to_be_relative_to() -> None:
    for wrong, message in (
        ({"num_envs": 16, "repeats": 3}, "multiple"),
        ({"repeats": 0}, "repeats is 0"),
        ({"repeats": 4, "relative_to": "none"}, "one of the two"),
    ):
        with pytest.raises(ConfigError, match=message):
            TrainSettings(ppo=PPOSettings(**wrong))


def test_every_schedule_of_a_table_is_one_to_be_relative_to() -> None:
    generator, cache = ToyGenerator(), ReferenceCache()
    requests = [ToyRequest(index, index) for index in (1, 4)]  # 4 stages each
    table = TableGenerator(tabulate(generator, requests, cache, 2))
    rows = [table.request(request.label, request.seed) for request in requests]
    earned = earned_in_table(table, rows)
    tails = [(a, b) for a in (0, 0.4, 0.7, 1) for b in (0, 0.4, 0.7, 1)]
    fixed = [parse_controller(f"schedule:tail=[{a},{b}]", generator, requests[0]) for a, b in tails]
    live = earned_by(fixed, generator, requests, cache)
    for request, row in zip(requests, rows, strict=True):
        np.testing.assert_allclose(earned[row.key], live[request.key], atol=1e-6)
    with pytest.raises(ConfigError, match="--generator table:FILE"):
        earned_in_table(generator, requests)


def test_fresh_seeds_have_no_schedule_to_be_relative_to() -> None:
    with pytest.raises(ConfigError, match="set one of the two"):
        TrainSettings(
            EnvironmentOptions(fresh_seeds=True), PPOSettings(relative_to="schedule:tail=[1]")
        )
