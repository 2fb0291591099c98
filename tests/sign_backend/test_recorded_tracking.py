"""A replayed tracker finds what the most similar live run found, and the full run if it saw all."""

import numpy as np
import pytest

from base.errors import DataError
from sign_backend.clip import Keypoints
from sign_backend.recorded_tracking import LiveRun, RecordedClip, RecordedTracking
from sign_backend.request import SignClip, SignRequest

FRAMES = 12
NOTHING = np.zeros((0, 75, 3))
RIGHT = slice(54, 75)


def full_points():
    points = np.random.default_rng(0).random((FRAMES, 75, 3))
    points[:, 11], points[:, 12] = 0.3, 0.6
    return points


FULL = full_points()


def live_run(frames, mark, lost=False):
    """A run whose finds are told by `mark`; `lost`: the right hand from its second look on."""
    points = FULL[frames].copy()
    points[:, 0, 0] = mark
    if lost:
        points[1:, RIGHT] = np.nan
    return LiveRun(np.array(frames), points)


def request(first_frame=0):
    clip = SignClip(
        name=f"clip from {first_frame}",
        content=f"c{first_frame}",
        motion=np.zeros((FRAMES - first_frame, 2), np.float32),
        height=4,
        width=6,
        keypoints=Keypoints(FULL[first_frame:], 4, 6),
        source="clip from 0",
        first_frame=first_frame,
    )
    return SignRequest(clip)


def tracking_of(*runs):
    known = {"clip from 0": RecordedClip(FULL, runs)}

    def clips(name):
        if name not in known:
            raise DataError(name)
        return known[name]

    return RecordedTracking(clips, "test")


def test_who_sees_all_finds_what_the_full_run_found():
    tracking = tracking_of(live_run(list(range(FRAMES)), mark=7.0))
    found = tracking.look(request(), (), NOTHING, range(FRAMES))
    np.testing.assert_array_equal(found, FULL)


def test_each_way_of_looking_is_replayed():
    second, third = live_run([0, 2, 4, 6, 8, 10], mark=2.0), live_run([0, 3, 6, 9], mark=3.0)
    tracking = tracking_of(second, third)
    for run in (second, third):
        found = tracking.look(request(), (), NOTHING, run.frames.tolist())
        np.testing.assert_array_equal(found[1:], run.points[1:])


def test_window_by_window_is_as_at_once():
    tracking = tracking_of(live_run([0, 2, 4, 6, 8, 10], 2.0), live_run([0, 3, 6, 9], 3.0))
    looked, points = (0, 3, 4), NOTHING
    for place, frame in enumerate(looked):
        found = tracking.look(request(), looked[:place], points, [frame])
        points = np.concatenate([points, found])
    assert points[1, 0, 0] == 3.0 and points[2, 0, 0] == 2.0


@pytest.mark.parametrize("lost", [True, False])
def test_a_hand_that_is_lost_stays_with_runs_that_lost_it(lost):
    runs = live_run([0, 2, 4, 6], 1.0), live_run([0, 2, 4, 6], 5.0, lost=True)
    before = runs[int(lost)].points[:2]
    found = tracking_of(*runs).look(request(), (0, 2), before, [4, 6])
    assert (
        np.isnan(found[:, RIGHT]).all() == lost and (found[:, 0, 0] == (5.0 if lost else 1.0)).all()
    )


def test_arms_that_are_off_stay_with_runs_that_were_off():
    plain, off = live_run([0, 2, 4], 1.0), live_run([0, 2, 4], 5.0)
    off.points[:, 15, :2] += 0.1
    tracking = tracking_of(plain, off)
    for run in (plain, off):
        found = tracking.look(request(), (0, 2), run.points[:2], [4])
        assert found[0, 0, 0] == run.points[0, 0, 0]


def test_the_end_of_a_clip_uses_the_runs_of_the_whole():
    run = live_run([3, 6, 9], mark=4.0)
    found = tracking_of(run).look(request(3), (), NOTHING, [0, 3, 6])
    np.testing.assert_array_equal(found[1:], run.points[1:])
    np.testing.assert_array_equal(found[0], FULL[3])  # nothing was left out before it


def test_no_look_finds_nothing():
    assert tracking_of(live_run([0, 2], 1.0)).look(request(), (), NOTHING, []).shape == (0, 75, 3)


def test_what_was_not_recorded_is_named():
    bare = SignRequest(SignClip("bare", "bare", np.zeros((9, 2), np.float32), 4, 6))
    with pytest.raises(DataError, match="bare has no keypoints"):
        tracking_of().look(bare, (), NOTHING, [0])
    points = Keypoints(FULL, 4, 6)
    other = SignClip("other", "other", np.zeros((FRAMES, 2), np.float32), 4, 6, points)
    with pytest.raises(DataError, match="other"):
        tracking_of().look(SignRequest(other), (), NOTHING, [0])
