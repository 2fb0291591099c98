"""What training changes in a clip leaves its gesture."""

import numpy as np

from sign_backend.clip import LEFT_HAND, RIGHT_HAND
from signers.augment import augment, mirrored


def test_a_mirror_twice_is_nothing_and_once_swaps_sides():
    points = np.random.default_rng(0).random((6, 75, 3))
    points[2, LEFT_HAND] = np.nan
    once = mirrored(points)
    np.testing.assert_allclose(mirrored(once), points)
    np.testing.assert_allclose(once[:, 12, 0], 1 - points[:, 11, 0])  # the shoulders
    np.testing.assert_allclose(once[:, RIGHT_HAND, 1], points[:, LEFT_HAND, 1])
    np.testing.assert_array_equal(once[:, 0, 1:], points[:, 0, 1:])  # the nose stays the nose


def test_augmented_clips_are_clips():
    points = np.random.default_rng(0).random((40, 75, 3))
    lengths, missing = set(), []
    for seed in range(40):
        changed = augment(points, np.random.default_rng(seed))
        assert changed.shape[1:] == (75, 3) and np.isfinite(changed[0, :33]).all()
        lengths.add(len(changed))
        missing.append(np.isnan(changed[:, 0, 0]).mean())
    assert min(lengths) >= 32 and max(lengths) <= 50
    assert min(missing) == 0 and max(missing) > 0.5
    assert np.isfinite(points).all(), "the clip itself is left as it was"
