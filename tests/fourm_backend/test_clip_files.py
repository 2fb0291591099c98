"""Clips from files: a real `.mp4`, a `.gif`, and what cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from base.errors import DataError
from fourm_backend.clip_files import read_array, read_clip, write_gif

VIDEO = Path(__file__).parents[1] / "data" / "sign" / "mediapipe_signer.mp4"


def test_a_video_is_cut_to_its_middle_and_resized():
    clip = read_clip(VIDEO, 48)
    assert clip.shape == (16, 48, 48, 3) and clip.dtype == np.uint8
    # the signer of the drawing moves; the frames are not copies of one
    assert np.abs(np.diff(clip.astype(int), axis=0)).max() > 20
    assert clip.std() > 20


def test_a_gif_comes_back(tmp_path):
    frames = np.zeros((18, 40, 60, 3), np.uint8)
    frames[:, :, 30:] = 255  # the right half
    frames[9:, :20] = 255
    write_gif(tmp_path / "clip.gif", frames)
    clip = read_clip(tmp_path / "clip.gif", 20)
    assert clip.shape == (16, 20, 20, 3)
    assert (clip[0, :, :9] == 0).all() and (clip[0, :, 11:] == 255).all()
    assert (clip[9, :9] == 255).all()


def test_what_cannot_be_read_is_named(tmp_path):
    write_gif(tmp_path / "short.gif", np.random.default_rng(0).integers(
        0, 255, (5, 20, 20, 3), np.uint8
    ))  # fmt: skip
    with pytest.raises(DataError, match="has 5 frames; the model takes 16"):
        read_clip(tmp_path / "short.gif", 10)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4 cannot be read as a video"):
        read_clip(tmp_path / "text.mp4", 10)
    with pytest.raises(DataError, match="missing"):
        read_array(tmp_path / "missing.npy")
