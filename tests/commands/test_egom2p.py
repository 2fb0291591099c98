"""`prunegym egom2p`: files in, files and figures out, and input that is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import prunegym
from base.errors import CheckpointError, ConfigError, DataError
from commands.egom2p import main
from fourm_backend.config import ModelConfig
from fourm_backend.egom2p import TASKS
from fourm_backend.egom2p_metrics import gaze_error
from fourm_backend.model import FourM
from fourm_backend.motion import MotionTokenizer, motion_settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ego")
    config = {
        "domains_in": ["tok_rgb", "tok_gaze", "tok_cam"],
        "domains_out": ["tok_gaze", "tok_cam"],
        "dim": 12,
        "encoder_depth": 1,
        "decoder_depth": 1,
        "num_heads": 1,
        "share_embedding": True,
    }
    torch.manual_seed(0)
    model = FourM(ModelConfig.from_file(config)[0])
    save_file({k: v.clone() for k, v in model.state_dict().items()}, root / "model.safetensors")
    (root / "config.json").write_text(json.dumps(config))
    for kind in ("gaze", "cam"):
        tokenizer = MotionTokenizer(motion_settings(kind, dim=64, depth=1, latent_dim=8))
        weights = {k: v.clone() for k, v in tokenizer.state_dict().items()}
        codes = torch.randn(256, 8)
        weights["quantize._codebook.embed"] = codes / codes.norm(dim=1, keepdim=True)
        save_file(weights, root / f"{kind}.safetensors")
    (root / "videos").mkdir()
    np.savez(root / "videos/walk.npz", np.random.default_rng(0).integers(64000, size=(5, 32, 32)))
    return root


def run(folder: Path, out: Path, task: str, *more: str) -> int:
    inputs = ["--model", str(folder), "--inputs", str(folder / "videos"), "--device", "cpu"]
    return main([task, *inputs, "--out", str(out), *more])


def test_gaze_with_and_without_the_tokenizer(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, tmp_path, "rgb2gaze") == 0
    tokens = np.load(tmp_path / "rgb2gaze/walk_tok_gaze_tokens.npy")
    assert tokens.shape == (30,) and tokens.max() < 256
    truth = np.full((60, 2), 0.5)
    truth[0] = np.nan
    np.save(tmp_path / "walk.npy", truth)
    more = ["--tokenizer", str(folder / "gaze.safetensors"), "--references", str(tmp_path)]
    assert run(folder, tmp_path, "rgb2gaze", *more) == 0
    gaze = np.load(tmp_path / "rgb2gaze/walk_tok_gaze.npy")
    assert gaze.shape == (60, 2)
    told = f"mean gaze distance {gaze_error(gaze, truth):.4g} over 1 videos"
    assert told in capsys.readouterr().out


def test_the_camera(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "walk.npy", np.tile(np.eye(4), (60, 1, 1)))
    more = ["--tokenizer", str(folder / "cam.safetensors"), "--references", str(tmp_path)]
    assert run(folder, tmp_path, "rgb2cam", *more) == 0
    assert np.load(tmp_path / "rgb2cam/walk_tok_cam.npy").shape == (60, 9)
    assert "rgb2cam: mean ATE" in capsys.readouterr().out


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rgb2sound"):
        run(folder, tmp_path, "rgb2sound")
    with pytest.raises(ConfigError, match="rgb2depth needs tok_depth"):
        run(folder, tmp_path, "rgb2depth")
    with pytest.raises(ConfigError, match="tok_cam"):
        run(folder, tmp_path, "rgb2gaze", "--tokenizer", str(folder / "cam.safetensors"))
    with pytest.raises(CheckpointError, match="not a tokenizer"):
        run(folder, tmp_path, "rgb2gaze", "--tokenizer", str(folder / "model.safetensors"))
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match="Cosmos"):
        run(folder, tmp_path, "rgb2gaze", "--inputs", str(tmp_path / "clip.mp4"))
    np.save(tmp_path / "small.npy", np.zeros((5, 4, 4), np.int64))
    with pytest.raises(DataError, match=r"grid of \(5, 32, 32\)"):
        run(folder, tmp_path, "rgb2gaze", "--inputs", str(tmp_path / "small.npy"))
    with pytest.raises(DataError, match=r"no \.npz"):
        run(folder, tmp_path, "rgb2gaze", "--inputs", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"walk\.npy"):
        run(folder, tmp_path, "rgb2gaze", "--references", str(tmp_path))
    assert (
        prunegym.main(["egom2p", "rgb2gaze", "--model", "x", "--inputs", str(tmp_path / "n")]) == 3
    )


def test_the_published_settings() -> None:
    steps = {name: task.decoding_steps for name, task in TASKS.items()}
    assert steps == {"rgb2depth": (3,), "rgb2cam": (3,), "rgb2gaze": (5,), "depth2rgb": (6,)}


def test_a_bad_file_does_not_end_a_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = np.load(folder / "videos/walk.npz")["arr_0"]
    np.save(tmp_path / "a.npy", good)
    np.save(tmp_path / "b.npy", good + 64000)
    (tmp_path / "c.npz").write_bytes(b"not an archive")
    np.save(tmp_path / "d.npy", good)
    assert run(folder, tmp_path / "out", "rgb2gaze", "--inputs", str(tmp_path)) == 3
    assert "2 of 4 could not be used" in capsys.readouterr().out
    assert len(list((tmp_path / "out/rgb2gaze").iterdir())) == 2


def test_a_chain_of_targets(folder: Path, tmp_path: Path) -> None:
    more = ["--targets", "tok_cam-tok_gaze", "--tokenizer", str(folder / "gaze.safetensors")]
    assert run(folder, tmp_path, "rgb2cam", *more) == 0
    written = sorted(path.name for path in (tmp_path / "rgb2cam").iterdir())
    assert written == ["walk_tok_cam_tokens.npy", "walk_tok_gaze.npy"]
    with pytest.raises(ConfigError, match="tok_sound"):
        run(folder, tmp_path, "rgb2cam", "--targets", "tok_sound")
