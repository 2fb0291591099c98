"""From raw keypoints to what a model takes: aspect ratio, gaps, zeros, and v0.3's normalisation.

Everything here is float64 NumPy on one clip, [T, 75, 3], and returns new arrays (SPEC: stages 3.2
and 3.4 of the SignON pipeline).
"""

import numpy as np
from numpy.typing import NDArray

from sign_backend.clip import BODY, LEFT_HAND, PARTS, RIGHT_HAND

Points = NDArray[np.float64]
LEGS = slice(25, 33)
# Distances by which the model divides: the part they scale, and the two joints.
SCALES = {"body": (11, 12), "left hand": (33, 42), "right hand": (54, 63)}
_COINCIDE = 1e-6
_NO_VARIANCE = 1e-8


def scale_aspect(points: Points, height_over_width: float) -> Points:
    """Put y in the same unit as x: y is multiplied by the ratio, z is left as it is."""
    return points * np.array([1.0, height_over_width, 1.0])


def drop_coinciding(points: Points) -> tuple[Points, dict[str, int]]:
    """Mark a part of a frame as not found where the model would divide by nothing.

    One frame with coinciding shoulders, or a wrist on its middle knuckle, would make the
    embeddings of the whole clip infinite.

    Returns:
        the points, and in how many frames each part was dropped (only parts with some).
    """
    points, dropped = points.copy(), {}
    for name, (one, other) in SCALES.items():
        distances = np.linalg.norm(points[:, one] - points[:, other], axis=1)  # [T], NaN: missing
        frames = np.flatnonzero(distances < _COINCIDE)
        if len(frames):
            points[frames, PARTS[name]] = np.nan
            dropped[name] = len(frames)
    return points, dropped


def impute(points: Points) -> Points:
    """Fill the frames in which a part was not found, each part by itself.

    A frame counts as missing for a part if any of its values is NaN. Between two frames with the
    part it is interpolated, before the first and after the last one copied; a part that was never
    found is left as it is.
    """
    points = points.copy()
    for part in PARTS.values():
        missing = np.isnan(points[:, part]).any(axis=(1, 2))
        gaps, found = np.flatnonzero(missing), np.flatnonzero(~missing)
        if len(found) == 0:
            continue
        place = np.searchsorted(found, gaps)
        before = found[np.maximum(place - 1, 0)]
        after = found[np.minimum(place, len(found) - 1)]
        span = after - before  # 0 at the ends: both are the same frame there
        weight = np.divide(gaps - before, span, out=np.zeros(len(gaps)), where=span > 0)
        weight = weight[:, None, None]
        points[gaps, part] = (1 - weight) * points[before, part] + weight * points[after, part]
    return points


def fill_zeros(points: Points) -> Points:
    """Zero for what is still not known."""
    return np.where(np.isnan(points), 0.0, points)


def clean(points: Points) -> Points:
    """v0.3: chest to the origin and shoulders one apart, then each hand about its own wrist."""
    points = points.copy()
    for frame in points:  # [75, 3], written in place
        if not frame.any():
            continue
        shoulders, hips = frame[[11, 12]], frame[[23, 24]]
        frame_width = float(np.linalg.norm(shoulders[0] - shoulders[1]))
        frame -= (shoulders.mean(axis=0) + hips.mean(axis=0)) / 2
        if frame_width != 0:
            frame /= frame_width
        for hand in (LEFT_HAND, RIGHT_HAND):
            rows = frame[hand]
            if abs(rows.var(axis=0).sum()) <= _NO_VARIANCE:
                continue  # never found: 21 joints in one place
            wrist_to_knuckle = float(np.linalg.norm(rows[9] - rows[0]))
            rows -= rows[0].copy()
            if wrist_to_knuckle != 0:
                rows /= wrist_to_knuckle
    return points


def flatten(points: Points, two_dimensions: bool) -> NDArray[np.float32]:
    """v0.3: the features of each frame, without the legs.

    Args:
        points: [T, 75, 3]; NaN becomes 0.
        two_dimensions: leave z out.

    Returns:
        [T, 201] or [T, 134], joint by joint.
    """
    kept = np.delete(fill_zeros(points), np.r_[LEGS], axis=1)
    if two_dimensions:
        kept = kept[:, :, :2]
    return kept.reshape(len(kept), -1).astype(np.float32)


def body_was_found(points: Points) -> bool:
    """Whether any frame has a whole body."""
    return bool((~np.isnan(points[:, BODY])).all(axis=(1, 2)).any())
