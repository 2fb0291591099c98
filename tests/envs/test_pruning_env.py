"""`PruningEnv` keeps the contracts of Gymnasium and of its own documentation."""

import re
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from base.errors import ConfigError, GenerationError
from envs.pruning_env import PruningEnv
from envs.toy import ToyGenerator, ToyRequest

REQUESTS = [ToyRequest(index) for index in range(6)]
SKIP = 3  # its number in the toy's menu


def make(kind: str = "image", generator: Any = None, **settings: Any) -> PruningEnv:
    return PruningEnv(generator or ToyGenerator(kind), REQUESTS, **settings)


def play(env: PruningEnv, actions: Any, **reset: Any) -> tuple[list[Any], list[float], list[dict]]:
    """Observations, rewards and infos of one episode; `actions` repeats its last one."""
    observation, info = env.reset(**reset)
    observations, rewards, infos = [observation], [], [info]
    terminated = False
    while not terminated:
        action = actions[min(len(rewards), len(actions) - 1)]
        observation, reward, terminated, truncated, info = env.step(action)
        assert truncated is False and type(reward) is float and type(terminated) is bool
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
    return observations, rewards, infos


@pytest.mark.parametrize("mode", ["discrete", "box"])
@pytest.mark.parametrize("kind", ["image", "tokens"])
def test_both_checkers_and_make(toy_id: str, mode: str, kind: str) -> None:
    """With every warning an error, and none excepted."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(
            toy_id,
            generator=ToyGenerator(kind),
            requests=REQUESTS,
            action_mode=mode,
            preference=(0.0, 1.0),
            keep_images=kind == "image",
            render_mode="rgb_array" if kind == "image" else None,
        )
        for _ in range(3):
            env.reset(seed=1)
            while not env.step(env.action_space.sample())[2]:
                pass
        sb3_check(env, skip_render_check=kind != "image")
        gymnasium_check(env.unwrapped, skip_render_check=kind != "image")


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["image", "tokens"])
def test_return_is_the_weighted_sum(kind: str, weight: float) -> None:
    env = make(kind, preference=weight)
    for request in range(6):
        options = {"request": request}
        _, rewards, infos = play(env, [1, 2, 0, SKIP], options=options)
        last = infos[-1]
        figure = last["ssim" if kind == "image" else "agreement"]
        assert sum(rewards) == pytest.approx(weight * last["saved"] + (1 - weight) * figure)
        assert last["return"] == pytest.approx(sum(rewards))
        assert last["saved"] == pytest.approx(1 - last["cost_flops"] / last["full_cost_flops"])
        assert sum(info["stage_saved"] for info in infos[1:]) == pytest.approx(last["saved"])
        assert len(last["decisions"]) == len(REQUESTS[request].sides) == len(rewards) + 1
        assert last["episode_summary"].items() <= last.items()


def test_nothing_pruned_equals_the_reference() -> None:
    _, rewards, infos = play(make(keep_images=True, preference=0.25), [0], seed=3)
    assert rewards[:-1] == [0.0] * (len(rewards) - 1) and rewards[-1] == pytest.approx(0.75)
    assert infos[-1]["ssim"] == pytest.approx(1) and infos[-1]["psnr"] == 50
    assert infos[-1]["image"].shape == (16, 16, 3) and infos[-1]["image"].dtype == np.uint8
    assert "image" not in infos[1]


def test_observation_columns() -> None:
    env = make(preference=0.3)
    observations, _, infos = play(env, [1, SKIP], options={"request": 2})  # five stages
    names = env.observation_names
    assert len(names) == env.observation_space.shape[0] == len(set(names))
    columns = dict(zip(names, np.array(observations).T, strict=True))
    one_hot = np.array([columns[f"stage_{stage}"] for stage in range(5)]).T
    np.testing.assert_array_equal(one_hot, np.vstack([np.eye(5)[1:], np.zeros(5)]))
    full, fixed = infos[-1]["full_cost_flops"], 50_000
    np.testing.assert_allclose(columns["last_prune_ratio"], np.float32([0, 0.4, 1, 1, 1]))
    np.testing.assert_array_equal(columns["last_guidance"], 0)
    np.testing.assert_allclose(columns["preference"], np.float32(0.3))
    np.testing.assert_allclose(columns["detail"], np.float32(REQUESTS[2].detail))
    spent = np.cumsum([2000, 6000, 0, 0, 0]) / full  # 1 token, then 3 of 4, guided: twice 1000
    np.testing.assert_allclose(columns["spent"], spent, rtol=1e-6)
    saved = np.cumsum([0, 2000, 32000, 128000, 512000]) / full
    np.testing.assert_allclose(columns["saved"], saved, rtol=1e-6)
    assert infos[-1]["cost_flops"] == 8000 + fixed


def test_documentation_names_every_column_argument_and_info() -> None:
    text = PruningEnv.__doc__ or ""
    env = make(keep_images=True, latency_table=Table())
    generator = env.core.generator
    own = set(env.observation_names) - set(generator.feature_names)
    for name in own:
        assert re.sub(r"_\d$", "_0", name) in text or name.startswith("last_"), name
    _, _, infos = play(env, [0], seed=1)
    for name in set(infos[0]) | set(infos[-1]):
        assert f"`{name}`" in text, name
    for name in type(env.core.settings).__dataclass_fields__:
        assert f"| `{name}` |" in text, name
    for section in ("Description", "Action Space", "Observation Space", "Rewards"):
        assert f"## {section}" in text
    for section in ("Starting State", "Episode End", "Arguments", "Version History"):
        assert f"## {section}" in text


class Table:
    """One millisecond a stage that is not skipped, half of one for the rest, .1 to decide."""

    fixed_ms, decision_ms = 0.5, 0.1

    def stage_ms(self, stage: str, decision: Any) -> float:
        return float(decision["prune_ratio"] < 1)

    def latency_ms(self, request: Any, decisions: Any, asked: int = 0) -> float:
        stages = sum(self.stage_ms("", decision) for decision in decisions)
        return stages + self.fixed_ms + asked * self.decision_ms


def test_latency_table() -> None:
    env = make(latency_table=Table())
    _, _, infos = play(env, [0, SKIP], options={"request": 2})  # five stages, four decided
    assert infos[-1]["latency_ms"] == pytest.approx(2.9)
    assert infos[-1]["full_latency_ms"] == 5.5


def test_milliseconds_as_cost_and_the_policy_pays_for_itself() -> None:
    env = make(latency_table=Table(), cost="latency", preference=1.0)
    observations, rewards, infos = play(env, [0, SKIP], options={"request": 2})
    # of 5.5 ms: one stage kept, three skipped, .1 ms to decide each of the four
    assert rewards == pytest.approx([-0.1 / 5.5, *[0.9 / 5.5] * 3])
    last = infos[-1]
    assert last["saved"] == pytest.approx(1 - last["latency_ms"] / last["full_latency_ms"])
    columns = dict(zip(env.observation_names, np.array(observations).T, strict=True))
    np.testing.assert_allclose(columns["spent"], np.array([1, 2.1, 2.2, 2.3, 2.4]) / 5.5, rtol=1e-6)
    assert last["cost_flops"] < last["full_cost_flops"]  # told as well


def test_same_seed_same_everything_whatever_happens_between() -> None:
    one, other = (
        make(preference=(0, 1), fresh_seeds=True),
        make(preference=(0, 1), fresh_seeds=True),
    )
    first = [play(one, [1, 2], seed=11), play(one, [0])]
    play(other, [SKIP], seed=5)
    second = [play(other, [1, 2], seed=11), play(other, [0])]
    for (obs, rewards, infos), (obs2, rewards2, infos2) in zip(first, second, strict=True):
        np.testing.assert_array_equal(obs, obs2)
        assert rewards == rewards2 and infos == infos2
    assert first[0][2][0] != first[1][2][0]


def test_observations_and_infos_belong_to_the_user() -> None:
    env, twin = make(), make()
    observation, info = env.reset(seed=4)
    expected, _ = twin.reset(seed=4)
    observation[:] = 99
    step, _, _, _, info = env.step(1)
    expected, _, _, _, _ = twin.step(1)
    np.testing.assert_array_equal(step, expected)
    step[:] = 99
    info["decision"]["prune_ratio"] = 99
    while True:
        one, reward, terminated, _, info = env.step(1)
        other, reward2, _, _, info2 = twin.step(1)
        np.testing.assert_array_equal(one, other)
        assert reward == reward2
        if terminated:
            assert info == info2
            return


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.5, 4, -1, [0], None])
def test_a_bad_action_changes_nothing(bad: Any) -> None:
    env, twin = make(), make()
    env.reset(seed=2), twin.reset(seed=2)
    with pytest.raises(ConfigError, match="expected"):
        env.step(bad)
    np.testing.assert_array_equal(env.step(2)[0], twin.step(2)[0])


def test_step_needs_reset() -> None:
    env = make()
    for call in (lambda: env.step(0), env.action_masks):
        with pytest.raises(ResetNeeded):
            call()
    play(env, [0])
    with pytest.raises(ResetNeeded, match="over"):
        env.step(0)
    env.reset()
    env.step(0)


def test_forbidden_actions() -> None:
    env = make(first_controlled_stage=0)
    env.reset(seed=0)
    assert env.action_masks().tolist() == [True, True, True, False]
    _, _, _, _, info = env.step(SKIP)
    assert info["action_replaced"] is True and info["decision"]["prune_ratio"] == 0.7
    assert env.action_masks().tolist() == [True] * 4
    assert env.step(SKIP)[4]["action_replaced"] is False
    strict = make(first_controlled_stage=0, strict_actions=True)
    strict.reset(seed=0)
    with pytest.raises(GenerationError, match="forbidden at stage 0"):
        strict.step(SKIP)
    box = make(action_mode="box")
    box.reset(seed=0)
    with pytest.raises(ConfigError, match="discrete"):
        box.action_masks()


def test_render_shows_the_picture_so_far() -> None:
    env = make(render_mode="rgb_array", keep_images=True)
    env.reset(options={"request": 1})
    before = env.render()
    assert before is not None and before.shape == (16, 16, 3) and before.dtype == np.uint8
    terminated = False
    while not terminated:
        _, _, terminated, _, info = env.step(0)
    np.testing.assert_array_equal(env.render(), info["image"])
    assert (before != info["image"]).any()


class Broken(ToyGenerator):
    """Gives NaN where it is told to."""

    def __init__(self, what: str):
        super().__init__("image")
        self.what = what

    def cost(self, state: Any, decisions: Any) -> np.ndarray:
        return super().cost(state, decisions) * (np.nan if self.what == "reward" else 1)

    def features(self, state: Any) -> np.ndarray:
        return super().features(state) * np.float32(
            np.nan if self.what.startswith("feature") else 1
        )


@pytest.mark.parametrize("what", ["reward", "feature 'detail'"])
def test_not_finite_is_an_error_that_names_request_and_stage(what: str) -> None:
    with pytest.raises(GenerationError, match=rf"{what} of request 'toy 4' is nan at stage 1"):
        play(make(generator=Broken(what)), [0], options={"request": 4})


@pytest.mark.parametrize(
    "settings",
    [
        {"reward": "speed"},
        {"action_mode": "continuous"},
        {"preference": 1.5},
        {"preference": (0.8, 0.2)},
        {"preference": (0.1, 0.2, 0.3)},
        {"first_controlled_stage": -1},
        {"menu": []},
        {"menu": [{}], "action_mode": "box"},
        {"render_mode": "human"},
        {"kind": "tokens", "render_mode": "rgb_array"},
        {"kind": "tokens", "keep_images": True},
    ],
)
def test_refuses_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        make(**settings)


def test_refuses_a_request_with_nothing_to_decide() -> None:
    env = make(first_controlled_stage=3)
    env.reset(options={"request": 1})
    with pytest.raises(ConfigError, match="'toy 0' has 3 stages"):
        env.reset(options={"request": 0})
