"""Changes to a clip that leave its gesture: for training only. T frames, `[T, 75, 3]` float64."""

import numpy as np
from numpy.typing import NDArray

from sign_backend.clip import LEFT_HAND, RIGHT_HAND

Points = NDArray[np.float64]
_PAIRS = np.array(
    [[1, 4], [2, 5], [3, 6], [7, 8], [9, 10], *[[n, n + 1] for n in range(11, 33, 2)]]
)


def augment(points: Points, lot: np.random.Generator) -> Points:
    """Mirror, speed, jitter, lean, and parts or frames that were not found or not looked at."""
    if lot.random() < 0.5:
        points = mirrored(points)
    points = _at_another_speed(points, lot.uniform(0.8, 1.25))
    points = points * np.append(lot.uniform(0.9, 1.1, 2), 1.0)
    points = points + lot.normal(0, 0.002, points.shape)
    if lot.random() < 0.5:
        points = _not_looked_at(points, lot)
    for part in (LEFT_HAND, RIGHT_HAND):
        if lot.random() < 0.3:
            lost = lot.random(len(points)) < lot.uniform(0, 0.5)
            points[lost, part] = np.nan
    return points


def mirrored(points: Points) -> Points:
    """The clip in a mirror: left and right change places."""
    points = points * [-1.0, 1.0, 1.0] + [1.0, 0.0, 0.0]
    swapped = points.copy()
    swapped[:, _PAIRS[:, 0]], swapped[:, _PAIRS[:, 1]] = (
        points[:, _PAIRS[:, 1]],
        points[:, _PAIRS[:, 0]],
    )
    swapped[:, LEFT_HAND], swapped[:, RIGHT_HAND] = points[:, RIGHT_HAND], points[:, LEFT_HAND]
    return swapped


def _at_another_speed(points: Points, speed: float) -> Points:
    """The nearest frames; NaN stays NaN."""
    frames = max(round(len(points) / speed), 8)
    return points[np.round(np.linspace(0, len(points) - 1, frames)).astype(int)]


def _not_looked_at(points: Points, lot: np.random.Generator) -> Points:
    """Whole frames skipped: every second, third or fourth kept, or a random share."""
    stride = int(lot.integers(1, 5))
    kept = np.zeros(len(points), bool)
    if stride > 1:
        kept[::stride] = True
    else:
        kept[lot.random(len(points)) < lot.uniform(0.3, 0.9)] = True
    kept[0] = True
    points = points.copy()
    points[~kept] = np.nan
    return points
