"""The ids of 4M and EgoM2P: both checkers, a whole episode, a folder of one's own, training."""

import json
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check
from safetensors.torch import save_file
from stable_baselines3.common.env_checker import check_env as sb3_check

import prunegym
from base.errors import CheckpointError, DataError
from commands.wiring import load_generator, load_prompts, make_requests
from fourm_backend.config import ModelConfig
from fourm_backend.model import FourM

IDS = ("prunegym/FourMDecoding-v0", "prunegym/EgoM2PDecoding-v0")
TOYS = dict(zip(IDS, ("fourm-toy", "egom2p-toy"), strict=True))


@pytest.fixture(autouse=True)
def _cache_in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("mode", ["discrete", "box"])
def test_both_checkers_pass_without_a_warning(name: str, mode: str) -> None:
    settings = {"generator": TOYS[name], "prompts": "toy:train:4", "action_mode": mode}
    env = gymnasium.make(name, disable_env_checker=True, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(env.unwrapped, skip_render_check=True)
        sb3_check(env.unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_an_episode(name: str) -> None:
    settings = {"generator": TOYS[name], "prompts": "toy:train:16"}
    env = gymnasium.make(name, **settings)
    for action, lowest, highest in ((0, 1.0, 1.0), (2, 0.0, 0.999)):
        _, info = env.reset(seed=1)
        done = False
        while not done:
            _, _, done, truncated, info = env.step(action)
            assert not truncated
        assert lowest <= info["agreement"] <= highest
        assert (info["saved"] == pytest.approx(0.0)) == (action == 0)
    many = gymnasium.make_vec(name, num_envs=3, **settings)
    observations, _ = many.reset(seed=0)
    assert observations.shape[0] == 3 and np.isfinite(observations).all()


def test_the_default_of_egom2p_is_a_trained_model() -> None:
    """A walk to depth to the camera's path; the encoder's shortcuts cost quality, and are cheap."""
    env = gymnasium.make(IDS[1], prompts="scenes:test:2")
    saved = []
    for action in (0, 1):  # everything; only what is new is encoded
        _, info = env.reset(seed=1)
        done = False
        while not done:
            _, _, done, _, info = env.step(action)
        saved.append(info["saved"])
        assert (info["agreement"] == 1.0) == (action == 0) or info["agreement"] > 0.3
    assert saved[0] == pytest.approx(0.0) and saved[1] > 0.2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = {
        "domains_in": ["tok_dinov2_global", "tok_imagebind_global"],
        "domains_out": ["tok_dinov2_global"],
        "dim": 8,
        "encoder_depth": 1,
        "decoder_depth": 1,
        "num_heads": 2,
    }
    model = FourM(ModelConfig.from_file(config)[0])
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "task.yaml").write_text(
        "cond_domains: tok_imagebind_global\ntarget_domains: tok_dinov2_global\n"
        "autoregression_schemes: roar\ndecoding_steps: 4\ncfg_scales: 2\n"
    )
    ids = torch.randint(8192, (1, 16))
    save_file({"tok_imagebind_global": ids}, tmp_path / "one.safetensors")
    (tmp_path / "prompts.txt").write_text(f"{tmp_path / 'one.safetensors'}\n")
    return tmp_path


def test_a_folder_of_ones_own(folder: Path) -> None:
    generator = load_generator(str(folder))
    (request,) = make_requests(generator, load_prompts(str(folder / "prompts.txt")))
    assert len(generator.stages(request)) == 4
    env = gymnasium.make(IDS[0], generator=str(folder), prompts=str(folder / "prompts.txt"))
    env.reset(seed=0)
    assert env.step(0)[1] == pytest.approx(0.0)


def test_prompts_that_cannot_be_used(folder: Path) -> None:
    generator = load_generator(str(folder))
    bad = {"tok_imagebind_global": torch.full((1, 16), 9000)}
    save_file(bad, folder / "bad.safetensors")
    save_file({"other": torch.zeros(1)}, folder / "other.safetensors")
    for prompt, told in (
        ("a red circle", "safetensors file with a tensor for each"),
        (str(folder / "none.safetensors"), "does not exist"),
        (str(folder / "bad.safetensors"), "from 9000 to 9000"),
        (str(folder / "other.safetensors"), "tok_imagebind_global"),
    ):
        with pytest.raises(DataError, match=told):
            generator.request(prompt)  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="toy NUMBER"):
        load_generator("fourm-toy").request("a red circle")  # type: ignore[attr-defined]
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="exactly one"):
        load_generator(str(folder))


def test_training_runs_on_4m(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--generator", "fourm-toy", "--prompts", "toy:train:8", "--run-dir", str(run)]
    more = ["--evaluation-prompts", "toy:validation:4", "--ppo.total_episodes", "16"]
    assert prunegym.main(["train", *arguments, *more]) == 0
    assert list(run.rglob("*.safetensors"))
