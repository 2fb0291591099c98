"""The predecessor's formulas give its worked values, and its environments stay sound under ours."""

import logging
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from base.errors import ConfigError
from envs.predecessor import (
    agreement,
    psnr_of_unit_images,
    reward_v1,
    reward_v2,
    reward_v3,
    similarity_v2,
    similarity_v3,
)
from envs.pruning_env import PruningEnv
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv
from envs.toy import ToyGenerator, ToyRequest
from tests.conformance.predecessor_model import (
    MeanDifference,
    StandInGenerator,
    StandInRequest,
    scorers,
)

SIDES = (1, 2, 4, 6, 8, 12)
REQUESTS = [StandInRequest.of(prompt) for prompt in ("a red kite", "two cats", "a boat")]
# Infinite bounds are the predecessor's own; and to Stable-Baselines3 three axes look like pixels,
# and like few for its own CNN.
KNOWN = (
    "is -?infinity|is an image|treating image space|image space as channels-last|minimal resolution"
)


def make(version: str = "v1", **settings: Any) -> PruningEnv:
    options = {"reward": version, "obs_mode": version, "scorers": scorers()} | settings
    return PruningEnv(StandInGenerator(SIDES), REQUESTS, action_mode="box_exact", **options)


def at(place: int, ratio: float) -> list[float]:
    return [0.0] * place + [ratio]


def test_worked_values() -> None:
    early = reward_v1(agreement(0.9, 0.15), at(0, 0.4))
    assert (early.speed_score, early.quality_score) == pytest.approx((0.072, 1.5325))
    assert early.total_reward == pytest.approx(1.6045)
    last = reward_v1(agreement(0.8, 0.25), at(3, 1.0))
    assert (last.speed_score, last.quality_score) == pytest.approx((1.5, 3.6075))
    assert last.total_reward == pytest.approx(5.1075)

    early = reward_v2(similarity_v2(0.9, 0.15), at(0, 0.4))
    assert early.speed_score == pytest.approx(26.684)
    assert early.quality_score == pytest.approx(0.875357, abs=1e-6)
    assert early.quality_reward == pytest.approx(0.831426, abs=1e-6)
    assert early.total_reward == pytest.approx(0.290296, abs=1e-6)
    assert reward_v2(similarity_v2(0.8, 0.25), at(3, 1.0)).total_reward == pytest.approx(
        0.381501, abs=1e-6
    )
    assert reward_v2(similarity_v2(0.99, 0.02), at(3, 0.5)).total_reward == pytest.approx(
        1.247699, abs=1e-6
    )
    assert reward_v2(0.69, at(3, 1.0)).total_reward == 0


@pytest.mark.parametrize(
    ("ratios", "similarities", "expected"),
    [
        ((0, 0, 0, 0), (1, 1, 1, 1), (0.075, 0.075, 0.075, 0.3)),
        ((0, 1, 1, 1), (1, 0.98, 0.975, 0.972), (0.075, 0.107854, 0.0846, 0.628206)),
        ((0.4, 0.5, 1, 1), (0.98, 0.975, 0.97, 0.965), (0.067646, 0.064214, 0.072514, 0.407065)),
    ],
)
def test_worked_episodes_of_v3(ratios: Any, similarities: Any, expected: Any) -> None:
    got = [
        reward_v3(similarity, ratios[: place + 1]).total_reward
        for place, similarity in enumerate(similarities)
    ]
    assert got == pytest.approx(expected, abs=1e-6)


def test_figures_are_cut_to_their_range() -> None:
    assert agreement(1.2, -0.1) == 2 and agreement(-0.5, 3.0) == 0
    assert similarity_v3(1.5) == 0 and similarity_v3(0.25) == 0.75
    assert psnr_of_unit_images(0.0) == 100 and psnr_of_unit_images(0.01) == pytest.approx(20)


@pytest.mark.parametrize("mode", ["v1", "v2", "v3", "fixed"])
@pytest.mark.parametrize("first", [0, 2])
def test_both_checkers(mode: str, first: int) -> None:
    version = "v3" if mode == "fixed" else mode
    env = make(version, obs_mode=mode, first_controlled_stage=first, preference=(0.0, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=f".*({KNOWN}).*")
        sb3_check(env, skip_render_check=True)
        gymnasium_check(env, skip_render_check=True)


def test_previous_codes_are_previous_in_fixed_only() -> None:
    channels = 32
    shown = {}
    for mode in ("v2", "v3", "fixed"):
        env = make("v1", obs_mode=mode, first_controlled_stage=2, preference=0.3)
        observations = [env.reset(seed=0)[0]]
        for _ in range(4):
            observations.append(env.step(np.zeros(1, np.float32))[0])
        shown[mode] = np.array(observations)
        assert env.observation_space.shape == observations[0].shape
        assert len(env.observation_names) == observations[0].shape[0]
    fixed = shown["fixed"]
    np.testing.assert_array_equal(fixed[1:, :channels], fixed[:-1, channels : 2 * channels])
    assert (shown["v2"][:, :channels] == 0).all()
    assert (shown["v3"][:, :channels] == shown["v3"][:1, :channels]).all()
    np.testing.assert_array_equal(shown["v3"][0, :channels], fixed[0, :channels])
    to_go, spent, preference = fixed[:, -3, 0, 0], fixed[:, -2, 0, 0], fixed[:, -1, 0, 0]
    np.testing.assert_allclose(to_go, np.array([4, 3, 2, 1, 0]) / 6, rtol=1e-6)
    assert (np.diff(spent) > 0).all() and (preference == np.float32(0.3)).all()
    np.testing.assert_allclose(shown["v3"][:, -1, 0, 0], np.arange(1, 6) / 5, rtol=1e-6)


def test_only_the_last_four_stages_can_be_pruned() -> None:
    env = make("v2", first_controlled_stage=0)
    env.reset(seed=1)
    skip = np.ones(1, np.float32)
    infos = [env.step(skip)[4] for _ in SIDES]
    assert [info["prune_ratio"] for info in infos] == [0, 0, 1, 1, 1, 1]
    assert [info["total_reward"] != 0 for info in infos[:2]] == [False, False]
    parts = infos[-1]["reward_components"]
    assert parts["alpha_quality"] == pytest.approx(0.7 * infos[-1]["quality_reward"])
    summary = infos[-1]["episode_summary"]
    assert summary["return"] == pytest.approx(sum(info["total_reward"] for info in infos))
    assert summary["psnr"] <= 50  # ours, whatever the predecessor's is called


class Small(StandInGenerator):
    """Images that MS-SSIM refuses."""

    def preview(self, state: Any, rows: Any = None) -> np.ndarray:
        return super().preview(state, rows)[:, :64, :64]


def test_small_images_are_compared_by_ssim_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    env = PruningEnv(Small(SIDES), REQUESTS, reward="v1", scorers=scorers()[1:] + scorers()[:1])
    with caplog.at_level(logging.WARNING):
        env.reset(seed=0)
        info = env.step(1)[4]
        while "episode_summary" not in info:
            info = env.step(1)[4]
    assert caplog.text.count("SSIM stands in for MS-SSIM (images of 64 pixels") == 1
    assert "ms_ssim" not in info and 0 < info["ssim"] < 1
    expected = 3 * agreement(info["ssim"], info["lpips"])
    assert info["quality_score"] == pytest.approx(expected)


def test_a_batch_is_paid_like_single_rows_and_references_are_kept(tmp_path: Any) -> None:
    cache = ReferenceCache(tmp_path)
    batch = PruningVecEnv(
        StandInGenerator(SIDES),
        REQUESTS,
        3,
        reward="v3",
        scorers=scorers(),
        shuffle=False,
        reference_cache=cache,
    )
    batch.seed(0)
    batch.reset()
    rewards = np.array([batch.step(np.array([0, 1, 2]))[1] for _ in range(5)])
    again = ReferenceCache(tmp_path)
    for row, request in enumerate(REQUESTS):
        env = PruningEnv(
            StandInGenerator(SIDES),
            REQUESTS,
            reward="v3",
            scorers=scorers(),
            reference_cache=again,
        )
        env.reset(options={"request": request})
        single = [env.step(row)[1] for _ in range(5)]
        np.testing.assert_allclose(rewards[:, row], single, rtol=1e-6)
    assert len(list(tmp_path.glob("*.npz"))) == 3  # trajectories, besides three images


def test_an_episode_under_way_comes_back_with_its_frozen_codes() -> None:
    def fresh() -> PruningVecEnv:
        settings: dict[str, Any] = {"reward": "v3", "obs_mode": "v3", "scorers": scorers()}
        return PruningVecEnv(
            StandInGenerator(SIDES), REQUESTS, 2, first_controlled_stage=2, **settings
        )

    one, other = fresh(), fresh()
    one.seed(5)
    one.reset()
    before = one.step(np.array([1, 2]))[0]
    np.testing.assert_array_equal(other.load_state_dict(one.state_dict()), before)
    observations, rewards, _, _ = one.step(np.array([2, 0]))
    again, rewards_again, _, _ = other.step(np.array([2, 0]))
    np.testing.assert_array_equal(observations, again)
    np.testing.assert_array_equal(rewards, rewards_again)


@pytest.mark.parametrize(
    ("generator", "settings", "message"),
    [
        (ToyGenerator("tokens"), {"reward": "v1"}, "compares images"),
        (ToyGenerator(), {"reward": "v3", "scorers": scorers()[:2]}, "needs the figure dreamsim"),
        (ToyGenerator(), {"reward": "v1"}, "needs the figure lpips or lpips_standin"),
        (ToyGenerator(), {"obs_mode": "v1"}, "no\\s+`latent`"),
        (ToyGenerator(), {"obs_mode": "v4"}, "vector, vector_no_prompt, v1, v2, v3, fixed"),
        (ToyGenerator(), {"cost": "latency"}, "needs a latency_table"),
    ],
)
def test_refuses(generator: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruningEnv(generator, [ToyRequest(0)], **settings)


def test_a_figure_that_falls_counts_as_one_minus_itself() -> None:
    scorer = MeanDifference("lpips")
    env = PruningEnv(
        ToyGenerator(), [ToyRequest(5)], scorers=[scorer], fidelity="lpips", preference=0.0
    )
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, reward, terminated, _, info = env.step(2)
    assert reward == pytest.approx(1 - info["lpips"]) and 0 < info["lpips"] < 1
    assert isinstance(scorer(torch.zeros(1, 2, 2, 3), torch.ones(1, 2, 2, 3), []), torch.Tensor)
    bad = PruningEnv(ToyGenerator(), [ToyRequest(5)], fidelity="fid")
    bad.reset(seed=0)
    with pytest.raises(ConfigError, match="figures ssim, psnr"):
        [bad.step(0) for _ in range(5)]
