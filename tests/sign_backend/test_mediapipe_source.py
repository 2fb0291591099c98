"""The tracker itself, against keypoints recorded elsewhere; skipped where it is not installed.

Tolerances are those of the recorded case: x and y of the body 0.01, of hands 0.02, a few frames may
differ in what was found.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from base.errors import DataError, ResourceError
from sign_backend.clip import PARTS
from sign_backend.keypoint_process import KeypointProcess, worker_python
from sign_backend.mediapipe_source import MediaPipeSource

DATA = Path(__file__).parents[1] / "data"
VIDEO = DATA / "sign" / "mediapipe_signer.mp4"
LARGEST_ERROR = {"body": 0.01, "left hand": 0.02, "right hand": 0.02}
FRAMES_THAT_MAY_DIFFER = 4


@pytest.fixture(scope="module")
def recorded():
    return load_file(DATA / "sign" / "mediapipe_signer_keypoints.safetensors")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    try:
        worker_python()
    except ResourceError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNEGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        source = MediaPipeSource()
        yield source
        source.close()


def check(points, expected):
    for name, part in PARTS.items():
        found, known = ~np.isnan(points[:, part, 0]), ~np.isnan(expected[:, part, 0])
        assert (found != known).any(axis=1).sum() <= FRAMES_THAT_MAY_DIFFER
        both = (found & known).all(axis=1)
        error = np.abs(points[both][:, part, :2] - expected[both][:, part, :2])
        assert error.max() <= LARGEST_ERROR[name], name


def test_a_video_gives_the_recorded_keypoints_and_is_looked_at_once(source, recorded, monkeypatch):
    first = source.extract(VIDEO)
    assert (first.height, first.width) == (480, 640)
    check(first.points, recorded["stride1"])
    monkeypatch.setattr(KeypointProcess, "ask", None)  # a second look would need it
    np.testing.assert_array_equal(source.extract(VIDEO).points, first.points)


def test_a_tracker_keeps_its_memory_between_calls(source, recorded):
    frames = source.read(VIDEO)
    every_third = [*range(0, 64, 3)]
    assert every_third[-1] == 63
    with source.tracker() as tracker:
        parts = [tracker.track(frames[every_third[:5]]), tracker.track(frames[every_third[5:]])]
    check(np.concatenate(parts), recorded["stride3"][every_third])


def test_a_tracker_that_was_closed_is_used_again_and_has_forgotten_everything(source):
    frames = source.read(VIDEO)[::8]
    with source.tracker() as tracker:
        first = tracker.track(frames)
    with source.tracker() as tracker:
        tracker.track(frames[::-1])
    with source.tracker() as tracker:
        np.testing.assert_array_equal(tracker.track(frames), first)


def test_a_folder_of_images_is_a_video_too(source, tmp_path):
    frames = source.read(VIDEO)[:3]
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{index:03d}.png")
    with source.tracker() as tracker:
        expected = tracker.track(frames)
    np.testing.assert_array_equal(source.extract(tmp_path).points, expected)


def test_what_cannot_be_read_is_named(source, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    for name in ("text.mp4", "empty", "missing.mp4"):
        with pytest.raises(DataError, match=name):
            source.extract(tmp_path / name)


def test_a_pose_model_that_is_not_there_is_not_downloaded(source):
    heavy = MediaPipeSource("heavy")
    with pytest.raises(ResourceError, match=r"pose_landmark_heavy\.tflite"):
        heavy.extract(VIDEO)
    heavy.close()
