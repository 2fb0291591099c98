"""Which files are clips, and what their results are called."""

from pathlib import Path

import pytest

from base.errors import ConfigError, DataError
from sign_backend.dataset import find_clips


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(folder: Path, *options: str, **more: bool) -> list[str]:
    return [clip.name for clip in find_clips(folder, *options, **more)]


def test_videos_in_all_folders_sorted_by_path(tmp_path):
    touch(tmp_path, "b.mp4", "a.b.mp4", "sub/deep/c.MP4", "d.avi", "._b.mp4", "mp4")
    assert names(tmp_path) == names(tmp_path, ".mp4") == ["a.b", "b", "c"]
    assert names(tmp_path, "avi") == ["d"]


def test_folders_of_frames(tmp_path):
    touch(tmp_path, "day/one/1.jpg", "day/one/2.jpg", "two.x/1.jpg", "three/1.png", "video.mp4")
    assert names(tmp_path, "jpg") == ["one", "two.x"]
    assert [clip.path for clip in find_clips(tmp_path / "three", "png")] == [tmp_path / "three"]
    assert names(tmp_path / "three", "png") == ["three"]


def test_equal_names_are_refused_or_kept_apart(tmp_path):
    touch(tmp_path, "x/1.mp4", "y/1.mp4", "2.mp4")
    with pytest.raises(ConfigError, match="--keep_folders"):
        find_clips(tmp_path)
    assert names(tmp_path, keep_folders=True) == ["2", "x/1", "y/1"]


def test_nothing_to_do_is_said(tmp_path):
    touch(tmp_path, "a.mov")
    with pytest.raises(DataError, match=r"no \*\.mp4"):
        find_clips(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        find_clips(tmp_path / "none")


def test_a_clip_that_changed_has_another_stamp(tmp_path):
    touch(tmp_path, "one/1.jpg", "two.mp4")
    video, frames = find_clips(tmp_path)[0], find_clips(tmp_path, "jpg")[0]
    before = video.stamp(), frames.stamp()
    assert before == (video.stamp(), frames.stamp())
    (tmp_path / "two.mp4").write_bytes(b"longer")
    touch(tmp_path, "one/2.jpg")
    assert video.stamp() != before[0] and frames.stamp() != before[1]
