"""The registered id: both checkers, one against many, and what users pass to `make`."""

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

import prunegym
from base.errors import CheckpointError, ConfigError, DataError
from tests.infinity_backend.tiny import PROMPTS, requests, tiny_generator

ID = "prunegym/InfinityPruning-v0"


@pytest.fixture(autouse=True)
def _cache_in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path))


@pytest.mark.parametrize("mode", ["discrete", "box"])
def test_both_checkers_pass_without_a_warning(mode: str) -> None:
    env = gymnasium.make(
        ID,
        generator=tiny_generator(),
        prompts=requests(3),
        action_mode=mode,
        disable_env_checker=True,
        render_mode="rgb_array",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(env.unwrapped, skip_render_check=False)
        sb3_check(env.unwrapped)


def test_vector_form_gives_what_the_single_one_gives() -> None:
    generator = tiny_generator()
    single = gymnasium.make(ID, generator=generator, prompts=list(PROMPTS), shuffle=False)
    many = gymnasium.make_vec(
        ID, num_envs=2, generator=generator, prompts=list(PROMPTS), shuffle=False
    )
    observations, _ = many.reset(seed=0)
    first, _ = single.reset(seed=0)
    np.testing.assert_allclose(observations[0], first, atol=1e-5)
    action, done, total, totals = 1, False, 0.0, np.zeros(2)
    while not done:
        _, reward, done, truncated, info = single.step(action)
        _, rewards, dones, _, infos = many.step(np.array([action, action]))
        total, totals = total + float(reward), totals + rewards
        assert not truncated and dones[0] == done
    assert totals[0] == pytest.approx(total, abs=1e-3)
    assert 0 < info["saved"] < 1 and info["ssim"] <= 1
    assert infos["final_info"]["label"][0] == PROMPTS[0]


def test_the_unpruned_episode_is_its_own_reference() -> None:
    env = gymnasium.make(ID, generator=tiny_generator(), prompts=requests(2), keep_images=True)
    env.reset(seed=0)
    done = False
    while not done:
        _, _, done, _, info = env.step(0)
    assert info["ssim"] == pytest.approx(1.0) and info["psnr"] == 50.0
    assert info["saved"] == 0.0 and info["image"].shape == (24, 24, 3)


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(CheckpointError, match="not a folder"):
        gymnasium.make(ID, generator="no/such/folder")
    with pytest.raises(DataError, match="does not exist"):
        gymnasium.make(ID, generator=tiny_generator(), prompts="no_such_file.txt")
    with pytest.raises(ConfigError, match=r"unknown settings \['backend'\]; .*'table:FILE'"):
        gymnasium.make(ID, generator=tiny_generator(), prompts=["a"], backend="table")
    with pytest.raises(ConfigError, match="does not show the preference"):
        gymnasium.make(ID, generator=tiny_generator(), obs_mode="v1", preference=(0.1, 0.3))


def test_the_command_line_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert prunegym.main([]) == 2
    assert prunegym.main(["--help"]) == 0
    assert "train-generator" in capsys.readouterr().out
    assert prunegym.main(["destroy"]) == 2
    assert "no command 'destroy'" in capsys.readouterr().err
    code = prunegym.main(["generate", "--controller", "none", "--prompts", "x", "--out", "y"])
    assert code == 3 and "x does not exist" in capsys.readouterr().err


def test_the_predecessors_rewards_get_their_figures() -> None:
    env = gymnasium.make(
        ID, generator=tiny_generator(), prompts=requests(1), reward="v2", obs_mode="v2"
    )
    env.reset(seed=0)
    done = False
    while not done:
        _, _, done, _, info = env.step(1)
    # small images and no ImageNet weights: both stand-ins are called by their own names
    assert 0 < info["ssim"] <= 1 and info["lpips_standin"] > 0
    assert "ms_ssim" not in info and "lpips" not in info
    with pytest.raises(ConfigError, match="dreamsim cannot be computed"):
        gymnasium.make(ID, generator=tiny_generator(), prompts=requests(1), reward="v3")
