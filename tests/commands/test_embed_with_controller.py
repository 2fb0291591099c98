"""`prunegym embed --controller`: the tracker sees what is asked for; skipped without MediaPipe."""

import json
from pathlib import Path

import numpy as np
import pytest

from base.errors import ResourceError
from prunegym import main
from sign_backend.keypoint_process import worker_python
from sign_backend.mediapipe_source import MediaPipeSource

VIDEO = Path(__file__).parents[1] / "data/sign/mediapipe_signer.mp4"
FRAMES = 64


@pytest.fixture
def videos(tmp_path, monkeypatch):
    try:
        worker_python()
    except ResourceError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "videos").mkdir()
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / "videos" / name).write_bytes(VIDEO.read_bytes())
    return tmp_path / "videos"


def embed(videos: Path, out: str, *options: str) -> int:
    words = ["embed", "signers", str(videos), str(videos.parent / out)]
    return main([*words, "--embedding_kind", "spatial", *options])


def test_a_controller_that_leaves_nothing_out_is_plain_embed(videos):
    assert embed(videos, "plain") == 0
    assert embed(videos, "none", "--controller", "none", "--max_frames", "64") == 0
    for name in ("one.npy", "two.npy"):
        plain, none = (np.load(videos.parent / out / name) for out in ("plain", "none"))
        np.testing.assert_array_equal(none, plain)


def test_every_second_frame(videos, capsys):
    options = ("--controller", "schedule:all:0.5", "--max_frames", "64", "--workers", "2")
    assert embed(videos, "half", *options) == 0
    assert f"the tracker saw {FRAMES} of {2 * FRAMES} frames" in capsys.readouterr().out
    record = json.loads((videos.parent / "half/embeddings.json").read_text())
    assert record["clips"]["one"]["frames_with"]["body"] <= FRAMES // 2
    assert "schedule:all:0.5" in record["made_by"]["tracker"]
    half = np.load(videos.parent / "half/one.npy")
    assert half.shape == (FRAMES, 64) and np.isfinite(half).all()
    assert embed(videos, "half", "--controller", "schedule:all:0.75", "--max_frames", "64") == 2
    assert "choose another folder" in capsys.readouterr().err.lower()


def test_too_long_a_clip_is_named(videos, capsys):
    assert embed(videos, "out", "--controller", "schedule:all:0.5") == 3
    assert "64 frames; at most 56 (--max_frames)" in capsys.readouterr().out


def test_what_cannot_be_done(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "clip.npy", np.zeros((8, 75, 3)))
    npy = ("--video_file_extension", "npy", "--controller", "none")
    assert embed(tmp_path, "out", *npy) == 2
    assert "keypoints are there" in capsys.readouterr().err
    monkeypatch.setattr(MediaPipeSource, "__init__", _without_worker)
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    assert embed(tmp_path, "out", "--controller", "every second") == 2
    assert "every second" in capsys.readouterr().err
    assert embed(tmp_path, "out", "--controller", "policy:signers", "--max_frames", "64") == 3
    assert "number of stages" in capsys.readouterr().err


def _without_worker(self, pose_model="full"):
    self.pose_model, self._tracking = pose_model, None
