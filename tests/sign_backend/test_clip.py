"""Keypoints of a clip are checked where they enter."""

import numpy as np
import pytest

from base.errors import DataError
from sign_backend.clip import PARTS, Keypoints


def test_parts_cover_every_row_once():
    rows = [row for part in PARTS.values() for row in range(75)[part]]
    assert rows == list(range(75))


@pytest.mark.parametrize(
    ("shape", "kind"), [((4, 75, 2), np.float64), ((75, 3), np.float64), ((4, 75, 3), np.float32)]
)
def test_what_is_no_clip_is_refused(shape, kind):
    with pytest.raises(DataError, match=r"expected float64 \[frames, 75, 3\]"):
        Keypoints(np.zeros(shape, kind), 480, 640)


def test_frames_without_pixels_are_refused():
    with pytest.raises(DataError, match="0 x 640"):
        Keypoints(np.zeros((1, 75, 3)), 0, 640)
