"""Stages between the tracker and the model, by hand-made cases (recorded ones: conformance)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sign_backend.postprocess import (
    body_was_found,
    clean,
    drop_coinciding,
    fill_zeros,
    flatten,
    impute,
    scale_aspect,
)

FRAMES = 6


def moving() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=(1, 75, 3)) + np.arange(FRAMES)[:, None, None] * 0.1


def test_only_y_is_scaled():
    points = moving()
    scaled = scale_aspect(points, 0.5)
    assert np.array_equal(scaled[..., 1], points[..., 1] / 2)
    assert np.array_equal(scaled[..., [0, 2]], points[..., [0, 2]])


@given(st.lists(st.booleans(), min_size=FRAMES, max_size=FRAMES))
def test_a_steady_movement_is_restored_between_what_was_found(found):
    points = moving()
    holes = points.copy()
    holes[~np.array(found), 33:54] = np.nan
    filled = impute(holes)
    assert np.array_equal(filled[:, :33], points[:, :33])  # other parts are left alone
    if not any(found):
        assert np.isnan(filled[:, 33:54]).all()
        return
    inside = np.flatnonzero(found)
    nearest = np.clip(np.arange(FRAMES), inside[0], inside[-1])  # copied before and after
    assert np.allclose(filled[:, 33:54], points[nearest][:, 33:54])


def test_one_missing_joint_discards_its_part_of_the_frame():
    points = moving()
    points[2, 40, 1] = np.nan
    points[2, 41] = 100.0
    filled = impute(points)
    assert np.allclose(filled[2, 33:54], (points[1, 33:54] + points[3, 33:54]) / 2)


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [("body", 11, 12), ("left hand", 33, 42), ("right hand", 54, 63)],
)
def test_coinciding_joints_count_as_not_found(part, one, other):
    points = moving()
    points[3, other] = points[3, one]
    kept, dropped = drop_coinciding(points)
    assert dropped == {part: 1}
    assert np.isnan(kept[3, one]).all() and not np.isnan(kept[[0, 1, 2, 4, 5]]).any()
    assert np.isfinite(impute(kept)).all()
    assert not np.isnan(points).any(), "the argument is left as it was"


def test_missing_parts_are_not_counted_as_coinciding():
    points = moving()
    points[:, 33:54] = np.nan
    assert drop_coinciding(points)[1] == {}


def test_cleaned_frames_have_unit_shoulders_and_hands():
    frames = clean(moving())
    chest = (frames[:, [11, 12]].mean(axis=1) + frames[:, [23, 24]].mean(axis=1)) / 2
    assert np.allclose(chest, 0)
    for one, other in ((11, 12), (33, 42), (54, 63)):
        assert np.allclose(np.linalg.norm(frames[:, one] - frames[:, other], axis=1), 1)
    assert np.allclose(frames[:, [33, 54]], 0)


def test_cleaning_never_divides_by_zero():
    points = moving()
    points[1, 12] = points[1, 11]  # shoulders coincide
    points[2, 42] = points[2, 33]  # wrist on its knuckle
    points[3, 54:] = 0.7  # a hand in one point: left where the body step puts it
    points[4] = 0.0  # nobody
    frames = clean(points)
    assert np.isfinite(frames).all()
    assert not frames[4].any()
    assert frames[3, 54:].any() and np.allclose(frames[3, 54:], frames[3, 54])


def test_flat_features_leave_out_legs_and_z():
    points = np.arange(75 * 3, dtype=float).reshape(1, 75, 3)
    points[0, 0, 0] = np.nan
    three, two = flatten(points, two_dimensions=False), flatten(points, two_dimensions=True)
    assert three.shape == (1, 201) and two.shape == (1, 134) and three.dtype == np.float32
    assert three[0, 0] == 0
    assert three[0, 74] == points[0, 24, 2] and three[0, 75] == points[0, 33, 0]
    assert two[0, 49] == points[0, 24, 1] and two[0, 50] == points[0, 33, 0]


def test_whether_anybody_was_found():
    points = moving()
    assert body_was_found(points)
    points[:, 5, 0] = np.nan
    assert not body_was_found(points)
    assert not np.isnan(fill_zeros(points)).any()
