"""`prunegym record-signers` with a tracker that only remembers how many frames it has seen."""

import numpy as np
import pytest

import commands.record_signers as command
from base.errors import ConfigError, DataError
from commands import wiring
from sign_backend.live_tracking import LiveTracking
from signers.keypoints import load_recordings
from signers.live_runs import frames_by_lot, frames_of_strides, runs_of


class CountingTracker:
    def __init__(self):
        self.seen = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def track(self, frames):
        numbers = self.seen + np.arange(1.0, len(frames) + 1)
        self.seen += len(frames)
        return np.full((len(frames), 75, 3), 1.0) * numbers[:, None, None] / 100

    def close(self):
        pass


class Source:
    pose_model = "none"

    def tracker(self):
        return CountingTracker()

    def close(self):
        pass


@pytest.fixture(autouse=True)
def one_clip(monkeypatch):
    monkeypatch.setattr(command, "num_recordings", lambda split: 2)
    monkeypatch.setattr(command, "MediaPipeSource", Source)


def test_frames_by_lot_are_shown_and_nothing_is_made_twice(tmp_path):
    assert command.main([str(tmp_path), "--rounds", "1", "--part", "1", "--parts", "2"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"train_1_0.npz", "validation_1_0.npz"}
    runs = runs_of(tmp_path, "train", 1)
    length = 1 + max(run.frames.max() for run in runs)
    assert len(runs) == 6 and length > 30
    for run, looked in zip(runs, frames_by_lot("train", 1, int(length)), strict=True):
        assert run.frames[0] == looked[0]
        np.testing.assert_allclose(run.points[:, 0, 0], np.arange(1, len(run.frames) + 1) / 100)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    command.main([str(tmp_path), "--rounds", "1", "--part", "1", "--parts", "2"])
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_frames_of_strides(tmp_path):
    options = ["--strides", "--splits", "validation", "--part", "1", "--parts", "2"]
    assert command.main([str(tmp_path), *options]) == 0
    runs = runs_of(tmp_path, "validation", 1)
    length = len(load_recordings("validation")[1].motion)
    looked = [run.frames.tolist() for run in runs]
    assert looked == frames_of_strides(length)


def test_frames_of_a_policy(tmp_path, monkeypatch):
    def live(text, device="cpu"):
        generator = wiring.load_generator("sign")
        generator.tracking = LiveTracking(Source())
        return generator

    monkeypatch.setattr(command, "load_generator", live)
    command.main([str(tmp_path), "--policy", "signers", "--splits", "train", "--parts", "2"])
    runs = runs_of(tmp_path, "train", 0)
    assert len(runs) == 5 and len({tuple(run.frames.tolist()) for run in runs}) > 1
    for run in runs:
        np.testing.assert_allclose(run.points[:, 0, 0], np.arange(1, len(run.frames) + 1) / 100)


def test_nothing_to_pack_is_said(tmp_path):
    with pytest.raises(DataError, match="no live runs of train clips"):
        command.main([str(tmp_path), "--pack"])


def test_a_part_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="part 2 of 2"):
        command.main([str(tmp_path), "--part", "2", "--parts", "2"])
