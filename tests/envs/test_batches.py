"""The batch, in both its forms, does what single environments do; and it resumes exactly."""

import json
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from base.errors import ConfigError, GenerationError
from envs.pruning_env import PruningEnv
from envs.sb3_vec_env import PruningVecEnv
from envs.toy import ToyGenerator, ToyRequest
from envs.vector_env import PruningVectorEnv

REQUESTS = [ToyRequest(index) for index in range(10)]  # ragged: three to five stages


def vector(rows: int = 4, **settings: Any) -> PruningVectorEnv:
    return PruningVectorEnv(ToyGenerator(), REQUESTS, rows, preference=(0, 1), **settings)


def sb3(rows: int = 4, **settings: Any) -> PruningVecEnv:
    return PruningVecEnv(ToyGenerator(), REQUESTS, rows, preference=(0, 1), **settings)


def actions_of(mode: str, steps: int, rows: int) -> np.ndarray:
    stream = np.random.default_rng(0)
    if mode == "discrete":
        return stream.integers(4, size=(steps, rows))
    return stream.uniform(-1.2, 1.2, size=(steps, rows, 2)).astype(np.float32)


@pytest.mark.parametrize("mode", ["discrete", "box"])
def test_vector_equals_single(mode: str) -> None:
    """Each row of the batch is a single environment on the same request and actions."""
    envs = vector(keep_images=True, action_mode=mode)
    singles = [
        PruningEnv(ToyGenerator(), REQUESTS, keep_images=True, action_mode=mode) for _ in range(4)
    ]
    observations, infos = envs.reset(seed=9)

    def begin(row: int, infos: dict[str, Any]) -> None:
        index = int(infos["label"][row].split()[1])
        option = {"request": index, "preference": float(infos["preference"][row])}
        single, _ = singles[row].reset(options=option)
        np.testing.assert_array_equal(single, observations[row])

    for row in range(4):
        begin(row, infos)
    ended = 0
    for actions in actions_of(mode, 25, 4):
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert not truncated.any()
        for row in range(4):
            single, reward, done, _, info = singles[row].step(actions[row])
            assert (reward, done) == (rewards[row], terminated[row])
            told = infos["final_info"] if done else infos
            assert told["action_replaced"][row] == info["action_replaced"]
            assert told["decision"]["prune_ratio"][row] == info["decision"]["prune_ratio"]
            if done:
                ended += 1
                np.testing.assert_array_equal(infos["final_obs"][row], single)
                assert infos["final_info"]["ssim"][row] == info["ssim"]
                assert infos["final_info"]["decisions"][row] == info["decisions"]
                np.testing.assert_array_equal(infos["final_info"]["image"][row], info["image"])
                begin(row, infos)
            else:
                np.testing.assert_array_equal(observations[row], single)
    assert ended > 15


def test_rows_take_from_one_order() -> None:
    single = PruningEnv(ToyGenerator(), REQUESTS)
    labels = [single.reset(seed=3)[1]["label"]] + [single.reset()[1]["label"] for _ in range(3)]
    assert vector().reset(seed=3)[1]["label"].tolist() == labels
    batch = sb3()
    batch.seed(3)
    batch.reset()
    assert [info["label"] for info in batch.reset_infos] == labels


def test_vector_through_gymnasium(toy_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs: Any = gymnasium.make_vec(
            toy_id, num_envs=3, generator=ToyGenerator(), requests=REQUESTS
        )
        assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
        envs.reset(seed=1)
        assert envs.observation_space.contains(envs.reset()[0])
        lengths = []
        for _ in range(12):
            _, _, terminated, _, infos = envs.step(envs.action_space.sample())
            lengths += infos["episode"]["l"][terminated].tolist() if terminated.any() else []
        assert set(lengths) == {2, 3, 4}


def test_vector_options_and_render() -> None:
    envs = vector(2, render_mode="rgb_array")
    _, infos = envs.reset(options={"request": [4, ToyRequest(77)], "preference": 0.5})
    assert infos["label"].tolist() == ["toy 4", "toy 77"]
    assert infos["preference"].tolist() == [0.5, 0.5]
    frames = envs.render()
    assert frames is not None and [frame.shape for frame in frames] == [(16, 16, 3)] * 2
    assert envs.action_masks().shape == (2, 4)
    with pytest.raises(ConfigError, match="3 values for 2 environments"):
        envs.reset(options={"request": [1, 2, 3]})


def test_sb3_contract() -> None:
    envs, twin = sb3(render_mode="rgb_array"), vector()
    envs.seed(5)
    np.testing.assert_array_equal(envs.reset(), twin.reset(seed=5)[0])
    returns, episodes = np.zeros(4), 0
    for actions in actions_of("discrete", 20, 4):
        observations, rewards, dones, infos = envs.step(actions)
        expected, rewards2, terminated, _, infos2 = twin.step(actions)
        np.testing.assert_array_equal(observations, expected)
        assert observations.dtype == rewards.dtype == np.float32 and dones.dtype == bool
        np.testing.assert_array_equal(rewards, rewards2.astype(np.float32))
        np.testing.assert_array_equal(dones, terminated)
        returns += rewards2
        for row in range(4):
            assert infos[row]["TimeLimit.truncated"] is False
            assert ("terminal_observation" in infos[row]) == ("episode" in infos[row]) == dones[row]
        for row in np.flatnonzero(dones):
            episodes += 1
            np.testing.assert_array_equal(
                infos[row]["terminal_observation"], infos2["final_obs"][row]
            )
            assert infos[row]["episode"]["r"] == pytest.approx(returns[row])
            assert infos[row]["episode"]["l"] == len(infos[row]["decisions"]) - 1
            assert envs.reset_infos[row]["label"] == infos2["label"][row]
            returns[row] = 0
        np.testing.assert_array_equal(envs.episode_starts(), dones)
    assert episodes > 15
    assert envs.env_is_wrapped(Monitor) == [True] * 4
    assert envs.get_attr("render_mode", 1) == ["rgb_array"]
    assert envs.has_attr("action_masks") and not envs.has_attr("nothing")
    masks = envs.env_method("action_masks", indices=[0, 2])
    np.testing.assert_array_equal(masks, envs.action_masks()[[0, 2]])
    np.testing.assert_array_equal(envs.get_attr("action_masks", 2)[0](), masks[1:])
    frame = envs.render()
    assert frame is not None and frame.shape == (32, 32, 3)
    with pytest.raises(AttributeError, match="action_masks"):
        envs.env_method("fly")
    assert not sb3(action_mode="box").has_attr("action_masks")


def test_sb3_options_hold_for_one_reset() -> None:
    envs = sb3(2)
    envs.set_options([{"request": 3}, {"request": 1, "preference": 0.25}])
    envs.reset()
    assert [info["label"] for info in envs.reset_infos] == ["toy 3", "toy 1"]
    assert envs.reset_infos[1]["preference"] == 0.25
    envs.seed(0)
    envs.reset()
    assert [info["label"] for info in envs.reset_infos] != ["toy 3", "toy 1"]


@pytest.mark.parametrize("mode", ["discrete", "box"])
def test_a_bad_action_names_its_environment_and_changes_nothing(mode: str) -> None:
    envs, twin = sb3(action_mode=mode), sb3(action_mode=mode)
    for each in (envs, twin):
        each.seed(1)
        each.reset()
    actions = actions_of(mode, 2, 4).astype(np.float64)
    broken = actions[0].copy()
    broken[2] = np.nan
    with pytest.raises(ConfigError, match=r"environment 2 .* nan"):
        envs.step(broken)
    for each in actions:
        np.testing.assert_array_equal(envs.step(each)[0], twin.step(each)[0])


@pytest.mark.parametrize("settings", [{}, {"fresh_seeds": True}, {"action_mode": "box"}])
def test_resumes_exactly_in_the_middle_of_episodes(settings: dict[str, Any]) -> None:
    envs, other = sb3(**settings), sb3(**settings)
    actions = actions_of(settings.get("action_mode", "discrete"), 40, 4)
    envs.seed(7)
    envs.reset()
    for each in actions[:13]:
        observations, _, dones, _ = envs.step(each)
    saved = json.loads(json.dumps(envs.state_dict(), allow_nan=False))
    assert len({len(episode["decisions"]) for episode in saved["episodes"]}) > 1  # ragged
    np.testing.assert_array_equal(other.load_state_dict(saved), observations)
    np.testing.assert_array_equal(other.episode_starts(), dones)
    for each in actions[13:]:
        one, two = envs.step(each), other.step(each)
        for left, right in zip(one[:3], two[:3], strict=True):
            np.testing.assert_array_equal(left, right)
        for row in np.flatnonzero(one[2]):
            assert one[3][row]["episode_summary"] == two[3][row]["episode_summary"]


def test_refuses_a_position_from_elsewhere() -> None:
    envs = sb3()
    envs.reset()
    saved = envs.state_dict()
    with pytest.raises(ConfigError, match="number of environments: there 4, here 3"):
        sb3(3).load_state_dict(saved)
    with pytest.raises(ConfigError, match="requests"):
        PruningVecEnv(ToyGenerator(), REQUESTS[:5], 4).load_state_dict(saved)
    with pytest.raises(ConfigError, match=r"toy1-image.*toy1-tokens"):
        PruningVecEnv(ToyGenerator("tokens"), REQUESTS, 4).load_state_dict(saved)
    envs.set_options({"request": ToyRequest(99)})
    envs.reset()
    with pytest.raises(ConfigError, match="'toy 99'"):
        envs.state_dict()


def test_ppo_trains_and_is_deterministic() -> None:
    torch.set_num_threads(1)
    weights = []
    for _ in range(2):
        model = PPO("MlpPolicy", sb3(), n_steps=16, batch_size=32, seed=3, device="cpu")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.learn(64)
            reward, _ = evaluate_policy(model, sb3(), n_eval_episodes=4)
        assert np.isfinite(reward) and len(model.ep_info_buffer or []) > 10
        weights.append(torch.cat([value.flatten() for value in model.policy.parameters()]))
    assert torch.equal(*weights) and torch.isfinite(weights[0]).all()


def test_a_generation_error_names_the_request() -> None:
    class Cut(ToyGenerator):
        """Ends with outputs of another shape than the references."""

        def finish(self, state: Any) -> Any:
            return (
                super().finish(state)[:, :12] if len(state.requests) == 3 else super().finish(state)
            )

    envs = PruningVecEnv(Cut(), REQUESTS, 3)
    envs.set_options([{"request": index} for index in (0, 3, 6)])
    envs.core.references.get(ToyGenerator(), REQUESTS)
    envs.reset()
    envs.step([0, 0, 0])
    with pytest.raises(GenerationError, match="toy 0"):
        envs.step([0, 0, 0])
