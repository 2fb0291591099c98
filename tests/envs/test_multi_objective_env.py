"""A reward for each objective, and MO-Gymnasium's own test list where it is installed."""

import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

import prunegym
from base.errors import ConfigError
from envs.multi_objective_env import MultiObjectivePruningEnv
from envs.pruning_env import PruningEnv
from envs.toy import ToyGenerator, ToyRequest
from tests.conformance.predecessor_model import MeanDifference

ID = "prunegym/InfinityPruning-mo-v0"
REQUESTS = [ToyRequest(index) for index in range(6)]


class Weighted(gymnasium.RewardWrapper):
    """What LinearReward does, for where MO-Gymnasium is not installed."""

    def __init__(self, env: Any, weight: Any):
        super().__init__(env)
        self.weight = np.asarray(weight)

    def reward(self, reward: Any) -> float:
        return float(np.dot(reward, self.weight))


class WithoutWeights(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """LinearReward puts its own array into every info, which Gymnasium's checker refuses."""

    def __init__(self, env: Any):
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def step(self, action: Any) -> Any:
        *others, info = super().step(action)
        del info["reward_weights"]
        return *others, info


def make(**settings: Any) -> MultiObjectivePruningEnv:
    return MultiObjectivePruningEnv(ToyGenerator(), REQUESTS, **settings)


def episode(env: Any, action: int, request: int) -> tuple[np.ndarray, list[np.ndarray], dict]:
    observation, _ = env.reset(options={"request": request})
    observations, rewards, terminated = [observation], [], False
    while not terminated:
        observation, reward, terminated, _, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.array(rewards), observations, info


def test_a_vector_of_what_was_saved_and_of_fidelity() -> None:
    env = make()
    rewards, _, info = episode(env, 2, 2)
    assert rewards.dtype == np.float32 and rewards.shape[1] == env.reward_dim == 2
    assert env.objectives == ("saved", "ssim")
    assert rewards[:, 0].sum() == pytest.approx(info["saved"], abs=1e-6)
    assert (rewards[:-1, 1] == 0).all() and rewards[-1, 1] == pytest.approx(info["ssim"])
    assert all(env.reward_space.contains(reward) for reward in rewards)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_weighted_sum_is_the_scalar_environment(weight: float) -> None:
    weighted = Weighted(make(preference=weight), [weight, 1 - weight])
    scalar = PruningEnv(ToyGenerator(), REQUESTS, preference=weight)
    for request in range(6):
        sums, observations, _ = episode(weighted, 1, request)
        rewards, expected, _ = episode(scalar, 1, request)
        np.testing.assert_allclose(sums, rewards, atol=1e-6)
        np.testing.assert_array_equal(observations, expected)


def test_both_checkers_on_the_weighted_sum() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # a vector has to be wrapped before it can be checked
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        env = Weighted(make(), [0.5, 0.5])
        sb3_check(env, skip_render_check=True)
        gymnasium_check(env, skip_render_check=True)


def test_further_objectives() -> None:
    scorer = MeanDifference("lpips")
    env = make(objectives=["saved", "psnr", "lpips"], scorers=[scorer])
    rewards, _, info = episode(env, 2, 4)
    np.testing.assert_allclose(rewards[-1, 1:], [info["psnr"], 1 - info["lpips"]], rtol=1e-6)
    assert env.reward_space.contains(rewards[-1])
    with pytest.raises(ConfigError, match="objective 'clip' is not among"):
        episode(make(objectives=["saved", "clip"]), 0, 0)
    with pytest.raises(ConfigError, match="different"):
        make(objectives=["saved", "saved"])


def test_the_id_is_registered_and_can_be_copied() -> None:
    assert prunegym
    env = gymnasium.make(
        ID, generator="toy", prompts="toy:train:4", disable_env_checker=True
    ).unwrapped
    twin = pickle.loads(pickle.dumps(env))
    assert twin.reward_space == env.reward_space
    np.testing.assert_array_equal(episode(env, 1, 0)[0], episode(twin, 1, 0)[0])


def test_in_mo_gymnasium() -> None:
    mo_gymnasium = pytest.importorskip("mo_gymnasium", reason="mo-gymnasium is not installed")
    from mo_gymnasium.wrappers import LinearReward, MORecordEpisodeStatistics

    options: dict[str, Any] = {"generator": "toy", "prompts": "toy:train:4", "preference": 0.3}
    env = mo_gymnasium.make(ID, **options)
    assert env.unwrapped.reward_space.shape == (env.unwrapped.reward_dim,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # a vector has to be wrapped before it can be checked
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        linear = LinearReward(env.unwrapped, weight=np.array([0.3, 0.7]))
        gymnasium_check(WithoutWeights(linear), skip_render_check=True)
        sb3_check(linear, skip_render_check=True)
    scalar = gymnasium.make("prunegym/InfinityPruning-v0", **options)
    for request in range(4):
        expected, _, _ = episode(scalar, 2, request)
        np.testing.assert_allclose(episode(linear, 2, request)[0], expected, atol=1e-6)
    recorded = MORecordEpisodeStatistics(mo_gymnasium.make(ID, **options), gamma=1.0)
    rewards, _, info = episode(recorded, 2, 1)
    np.testing.assert_allclose(info["episode"]["r"], rewards.sum(axis=0), rtol=1e-5)
    vector = mo_gymnasium.wrappers.vector.MOSyncVectorEnv(
        [lambda: mo_gymnasium.make(ID, **options) for _ in range(2)]
    )
    vector.reset(seed=0)
    assert vector.step(np.array([0, 3]))[1].shape == (2, 2)
