"""The shipped small EgoM2P keeps its gate on walks that it never saw."""

import numpy as np
import pytest
import torch

from commands.egom2p import main
from commands.wiring import SHIPPED
from fourm_backend.checkpoints import load_float32
from fourm_backend.egom2p_metrics import log_error
from fourm_backend.video import cut_frames, depth_metres
from scenes.walk import FARTHEST, NEAREST
from scenes.walk_gates import draw, make
from scenes.walk_prompts import load_tokenizers

FOLDER = SHIPPED["walks"]


def test_depth_of_unseen_walks_is_twice_as_good_as_the_mean() -> None:
    truth, training = draw("test", 12), draw("train", 48)
    made = make(load_float32(FOLDER), load_tokenizers(FOLDER), "rgb2depth", truth)
    depth = truth.depth_m
    mean = np.exp(np.log(training.depth_m).mean(0, keepdims=True))
    error = log_error(depth_metres(cut_frames(made), NEAREST, FARTHEST), depth)
    assert error < 0.5 * log_error(np.broadcast_to(mean, depth.shape), depth)


def test_a_walk_does_not_depend_on_its_neighbours() -> None:
    """A temperature near 0 and float32: at most a token or two differ by rounding."""
    model, tokenizers = load_float32(FOLDER), load_tokenizers(FOLDER)
    both = make(model, tokenizers, "rgb2depth", draw("test", 2))
    alone = make(model, tokenizers, "rgb2depth", draw("test", 1))
    same = torch.isclose(both[:1], alone, atol=1e-4).float().mean()
    assert float(same) > 0.95


def test_the_command_without_any_option(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    arguments = ["--out", str(tmp_path), "--inputs", "walks:test:1", "--device", "cpu"]
    assert main(["rgb2depth", *arguments, "--targets", "tok_depth-tok_cam"]) == 0
    told = capsys.readouterr().out
    assert "mean error of log depth" in told and "mean ATE" in told
    folder = tmp_path / "rgb2depth"
    assert np.load(folder / "test_00000_tok_depth.npy").shape == (16, 48, 48)
    assert np.load(folder / "test_00000_tok_cam.npy").shape == (60, 9)
    assert (folder / "test_00000_tok_depth.gif").is_file()


def test_the_files_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 6_000_000
