"""The run over a folder: what is made, made again, and left out for which reason."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from base.errors import ConfigError, DataError, ResourceError
from sign_backend.clip import Keypoints
from sign_backend.dataset import find_clips
from sign_backend.embed import embed, prepare
from sign_backend.keypoint_files import KeypointFiles
from sign_backend.predict import PredictSettings, predict
from sign_backend.results import ResultFolder
from tests.sign_backend.tiny import tiny_clip, tiny_model

FRAMES = {"a": 9, "b": 14, "c": 5}


class Source:
    """Keypoints by the file's name; a file may hold a reason why there are none."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def extract(self, path: Path) -> Keypoints:
        self.asked.append(path.stem)
        text = path.read_text()
        if text == "nobody":
            return Keypoints(np.full((7, 75, 3), np.nan), 360, 640)
        if text == "empty":
            return Keypoints(np.zeros((0, 75, 3)), 360, 640)
        if text == "infinite":
            points = tiny_clip(6).points.copy()
            points[2, 40] = np.inf
            return Keypoints(points, 360, 640)
        if text == "no tracker":
            raise ResourceError("no tracker")
        if text == "cut short":
            return Keypoints(tiny_clip(6).points, 360, 640, announced=20)
        if text:
            raise DataError(f"{path}: {text}")
        return tiny_clip(FRAMES[path.stem], FRAMES[path.stem])


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in FRAMES:
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / f"videos/{name}.mp4").touch()
    return tmp_path / "videos"


def run(videos: Path, source: Source, kind: str = "temporal", **settings) -> ResultFolder:
    out = videos.parent / "out"
    with ResultFolder(out, {"kind": kind, "parity": settings.get("parity", False)}) as results:
        predict(
            tiny_model(),
            source,
            find_clips(videos),
            results,
            PredictSettings(kind, **settings),
        )
    return results


def array(videos: Path, name: str) -> np.ndarray:
    return np.load(videos.parent / f"out/{name}.npy")


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 64, "workers": 3}])
def test_each_array_is_that_of_the_clip_alone(videos, settings):
    results = run(videos, Source(), **settings)
    assert not results.failed and results.clips["a"]["frames"] == 9
    assert (
        results.clips["a"]["frames_with"]["body"]
        == 9
        > results.clips["a"]["frames_with"]["left hand"]
    )
    for name, frames in FRAMES.items():
        model = tiny_model()
        alone = embed(model, [prepare(tiny_clip(frames, frames), model.config)], "temporal")[0]
        assert np.array_equal(array(videos, name), alone)


def test_parity_pads_by_batches_in_order(videos):
    run(videos, Source(), parity=True, batch_size=2)
    model = tiny_model()
    clips = [prepare(tiny_clip(n, n), model.config) for n in FRAMES.values()]
    padded = embed(model, clips[:2], "temporal", reference_padding=True)
    assert np.allclose(array(videos, "a"), padded[0], atol=1e-6)
    assert np.allclose(array(videos, "c"), embed(model, clips[2:], "temporal")[0], atol=1e-6)
    assert np.abs(array(videos, "a") - embed(model, clips[:1], "temporal")[0]).max() > 1e-3


def test_failures_stop_nothing_and_are_all_named(videos):
    for name, text in {
        "b": "cannot be opened",
        "d": "nobody",
        "e": "empty",
        "f": "infinite",
    }.items():
        (videos / f"{name}.mp4").write_text(text)
    results = run(videos, Source(), workers=2)
    assert set(results.clips) == {"a", "c"}
    assert results.failed == {
        "b": "cannot be opened",
        "d": "no person found in any of 7 frames",
        "e": "no frames",
        "f": results.failed["f"],
    }
    assert "not finite" in results.failed["f"]
    assert {path.stem for path in (videos.parent / "out").glob("*.npy")} == {"a", "c"}


def test_a_clip_that_was_cut_short_is_named(videos):
    (videos / "b.mp4").write_text("cut short")
    expected = {"b": "6 of 20 frames could be decoded"}
    assert run(videos, Source()).incomplete == expected
    assert run(videos, Source()).incomplete == expected  # also when nothing is made again


def test_a_second_run_makes_what_is_missing_or_changed(videos):
    (videos / "b.mp4").write_text("cannot be opened")
    run(videos, Source())
    (videos / "b.mp4").write_text("")
    (videos.parent / "out/c.npy").unlink()
    source = Source()
    assert not run(videos, source).failed
    assert sorted(source.asked) == ["b", "c"]
    source = Source()
    run(videos, source)
    assert source.asked == []


def test_a_padded_batch_is_made_again_as_a_whole(videos):
    run(videos, Source(), parity=True, batch_size=2)
    (videos.parent / "out/a.npy").unlink()
    source = Source()
    run(videos, source, parity=True, batch_size=2)
    assert sorted(source.asked) == ["a", "b"]


def test_parity_keeps_clips_with_nobody(videos):
    (videos / "d.mp4").write_text("nobody")
    results = run(videos, Source(), parity=True)
    assert not results.failed and array(videos, "d").shape == (7, 8)


def test_a_run_can_be_stopped_between_clips(videos):
    out = ResultFolder(videos.parent / "out", {})
    seen: list[str] = []

    def stop_after_one(clip) -> bool:
        seen.append(clip.name)
        return False

    predict(tiny_model(), Source(), find_clips(videos), out, PredictSettings("CLS"), stop_after_one)
    assert len(seen) == 1 and set(out.clips) == set(seen)


def test_without_a_tracker_everything_stops(videos):
    (videos / "a.mp4").write_text("no tracker")
    with pytest.raises(ResourceError, match="no tracker"):
        run(videos, Source())


def test_workers_look_at_several_clips_at_once(videos):
    together = threading.Barrier(2, timeout=5)

    class Meeting(Source):
        def extract(self, path: Path) -> Keypoints:
            if path.stem in "ab":
                together.wait()
            time.sleep(0.01)
            return super().extract(path)

    assert not run(videos, Meeting(), workers=2).failed


def test_another_run_into_the_same_folder_is_refused(videos):
    run(videos, Source())
    with pytest.raises(ConfigError, match="made with kind 'temporal'; now kind is 'CLS'"):
        run(videos, Source(), kind="CLS")
    (videos.parent / "out/embeddings.json").unlink()
    with pytest.raises(DataError, match=r"no embeddings\.json"):
        run(videos, Source())
    (videos.parent / "out/embeddings.json").write_text("[]")
    with pytest.raises(DataError, match="not the record"):
        run(videos, Source())


def test_files_of_keypoints(tmp_path):
    points = tiny_clip(5).points
    np.save(tmp_path / "a.npy", points)
    assert np.array_equal(
        KeypointFiles().extract(tmp_path / "a.npy").points, points, equal_nan=True
    )
    np.save(tmp_path / "b.npy", np.array([object()]), allow_pickle=True)
    np.save(tmp_path / "c.npy", np.zeros((2, 75, 3), int))
    (tmp_path / "d.npy").write_bytes(b"")
    for name, message in {"b": "not a whole", "c": "int64", "d": "not a whole"}.items():
        with pytest.raises(DataError, match=message):
            KeypointFiles().extract(tmp_path / f"{name}.npy")
