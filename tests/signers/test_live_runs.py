import numpy as np
import pytest

from base.errors import DataError
from sign_backend.recorded_tracking import LiveRun
from signers.live_runs import WINDOW, frames_by_lot, frames_of_strides, runs_of, save_runs
from signers.packed_runs import load_tracking, pack, unpack
from signers.requests import read_request


def test_frames_are_drawn_within_windows_and_the_first_one_is_looked_at():
    drawn = [frames for clip in range(40) for frames in frames_by_lot("train", clip, 45)]
    assert drawn == [frames for clip in range(40) for frames in frames_by_lot("train", clip, 45)]
    starts = {frames[0] for frames in drawn}
    assert starts == set(range(WINDOW))
    shares = [len(frames) / (45 - frames[0]) for frames in drawn]
    assert min(shares) < 0.2 and max(shares) > 0.8
    assert all(frames == sorted(set(frames)) and frames[-1] < 45 for frames in drawn)
    assert all(frames[0] == 0 for frames in frames_by_lot("validation", 3, 45))


def test_strides_look_at_what_their_schedules_look_at():
    runs = frames_of_strides(48)
    assert runs[1] == list(range(0, 48, 2))
    assert [len(run) / 48 for run in runs] == [0.75, 0.5, 0.375, 0.25, 0.125]


def live_run(clip, looked):
    points = read_request(f"signer train {clip}").clip.keypoints.points[looked]
    points[1:, 11, 0] += 0.125
    points[:, 33:54] = 0.5  # also where the full run has not found it
    points[-1, 54:] = np.nan
    return LiveRun(np.array(looked), points)


def test_runs_are_read_back_packed_and_replayed(tmp_path):
    first, second = live_run(2, [1, 4, 9, 20]), live_run(2, [0, 9, 30])
    save_runs(tmp_path / "train_2_0.npz", [first, second])
    save_runs(tmp_path / "train_5_0.npz", [live_run(5, [0, 3])])
    read = runs_of(tmp_path, "train", 2)
    pack(tmp_path, "train", tmp_path)
    packed = unpack("train", 2, tmp_path)
    for run, *copies in zip((first, second), read, packed, strict=True):
        for copy in copies:
            np.testing.assert_array_equal(copy.frames, run.frames)
            seen = [*range(25), *range(33, 75)]  # not the legs
            np.testing.assert_allclose(
                copy.points[:, seen, :2], run.points[:, seen, :2], atol=1 / 4000
            )
            np.testing.assert_allclose(copy.points[:, 11, 2], run.points[:, 11, 2], atol=1 / 4000)
    tracking = load_tracking(tmp_path)
    nothing = np.zeros((0, 75, 3))
    later = read_request("signer train 602")  # the same clip from its second frame on
    found = tracking.look(later, (), nothing, [0, 3, 8, 19])
    np.testing.assert_array_equal(found[1:], packed[0].points[1:])
    with pytest.raises(DataError, match="signer train 3: no live runs"):
        tracking.look(read_request("signer train 3"), (), nothing, [0])


def test_runs_join_those_that_are_packed(tmp_path):
    first, second = live_run(2, [1, 4, 9, 20]), live_run(2, [0, 9, 30])
    for number, run in enumerate((first, second)):
        (tmp_path / str(number)).mkdir()
        save_runs(tmp_path / str(number) / "train_2_0.npz", [run])
        pack(tmp_path / str(number), "train", tmp_path, add=number > 0)
    lengths = [len(run.frames) for run in unpack("train", 2, tmp_path)]
    assert lengths == [4, 3]


@pytest.mark.parametrize("kept", [0, 40, 900])
def test_damaged_files_are_named(tmp_path, kept):
    save_runs(tmp_path / "train_2_0.npz", [live_run(2, [1, 4, 9, 20])] * 3)
    place = pack(tmp_path, "train", tmp_path)
    for path in (place, tmp_path / "train_2_0.npz"):
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"train_live\.npz"):
        unpack("train", 2, tmp_path)
    with pytest.raises(DataError, match=r"train_2_0\.npz is damaged"):
        runs_of(tmp_path, "train", 2)


def test_no_runs_are_not_packed(tmp_path):
    with pytest.raises(DataError, match="no live runs of train clips"):
        pack(tmp_path, "train", tmp_path)


def test_other_runs_are_another_fingerprint(tmp_path):
    found = []
    for looked in ([0, 3], [0, 4]):
        save_runs(tmp_path / "train_2_0.npz", [live_run(2, looked)])
        pack(tmp_path, "train", tmp_path)
        found.append(load_tracking(tmp_path).fingerprint)
    assert len(set(found)) == 2
