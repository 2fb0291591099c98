"""What a policy may look at before it decides how much of a window to look at.

Pictures' motion is known for the whole clip: all of it is decoded first. Everything else is from
frames that were looked at. Speeds are in shoulder widths a frame.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from sign_backend.tracking_loss import HANDS, SHOULDERS, WRISTS

FEATURES: tuple[str, ...] = (
    "window_frames",  # of the window to come, in shares of a full one
    "progress",  # frames before the window, in shares of the clip
    "motion_mean",  # over its frames
    "motion_peak_quarter_1",  # the largest of each quarter of its frames
    "motion_peak_quarter_2",
    "motion_peak_quarter_3",
    "motion_peak_quarter_4",
    "motion_peak_before",  # of the window before
    "motion_peak_after",  # of the window after
    "motion_peak_second_after",  # and of the one after that
    "motion_peak_clip",  # of the whole clip
    "motion_moved",  # how much of the clip's motion lies before the window, 0 to 1
    "motion_moves",  # and in it
    "motion_since_look",  # sum of the mean motion of the frames since the last look
    "frames_since_look",  # in windows, at most 4
    "looked_share",  # of the frames so far
    "looked_share_before",  # of the window before
    "left_age",  # frames since the left hand was found, in windows, at most 4
    "right_age",
    "left_found_rate",  # over the last eight looks
    "right_found_rate",
    "left_wrist_speed",  # between the last two looks, from the body
    "right_wrist_speed",
    "left_wrist_height",  # in the picture: 0 its upper edge, 1 the lower
    "right_wrist_height",
)
_MEAN_SCALE, _PEAK_SCALE = 50.0, 10.0  # typical values become about 1


def features(
    motion: NDArray[np.float32],
    window: slice,
    kept: tuple[int, ...],
    points: NDArray[np.float64],
    full_window: int,
) -> NDArray[np.float32]:
    """[25] float32, see `FEATURES`.

    Args:
        motion: [T, 2] of the clip.
        window: the frames to come; empty after the last one.
        kept: frames that were looked at.
        points: [kept, 75, 3] found in them.
        full_window: frames of a window.
    """
    start, end = window.start, window.stop
    before = slice(max(start - full_window, 0), start)
    since = slice(kept[-1] + 1 if kept else 0, start)
    longest = 4.0
    mean, peak = motion.T  # [T] each
    quarters = [start + (end - start) * part // 4 for part in range(5)]
    moved = np.concatenate([[0.0], np.cumsum(peak, dtype=np.float64)])  # [T + 1] before each frame
    all_motion = max(moved[-1], 1e-9)
    values = [
        (end - start) / full_window,
        start / len(motion),
        _MEAN_SCALE * _mean(mean[window]),
        *(_PEAK_SCALE * _largest(peak[a:b]) for a, b in itertools.pairwise(quarters)),
        _PEAK_SCALE * _largest(peak[before]),
        _PEAK_SCALE * _largest(peak[end : end + full_window]),
        _PEAK_SCALE * _largest(peak[end + full_window : end + 2 * full_window]),
        _PEAK_SCALE * _largest(peak),
        moved[start] / all_motion,
        (moved[end] - moved[start]) / all_motion,
        _MEAN_SCALE / full_window * float(mean[since].sum()),
        min((start - 1 - kept[-1]) / full_window, longest) if kept else longest,
        len(kept) / max(start, 1),
        sum(frame >= before.start for frame in kept) / full_window,
    ]
    found = [~np.isnan(points[:, rows.start, 0]) for rows in HANDS]
    for hand in found:
        last = np.flatnonzero(hand)
        age = (start - 1 - kept[last[-1]]) / full_window if len(last) else longest
        values.append(min(age, longest))
    values += [float(hand[-8:].mean()) if len(hand) else 0.0 for hand in found]
    values += [_speed(kept, points, wrist) for wrist in WRISTS]
    values += [_height(points, wrist) for wrist in WRISTS]
    return np.array(values, np.float32)


def _mean(values: NDArray[np.float32]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _largest(values: NDArray[np.float32]) -> float:
    return float(values.max()) if len(values) else 0.0


def _speed(kept: tuple[int, ...], points: NDArray[np.float64], wrist: int) -> float:
    if len(kept) < 2:
        return 0.0
    width = np.linalg.norm(points[-1, SHOULDERS[0], :2] - points[-1, SHOULDERS[1], :2])
    way = np.linalg.norm(points[-1, wrist, :2] - points[-2, wrist, :2])
    speed = 5 * way / max(float(np.nan_to_num(width)), 1e-3) / (kept[-1] - kept[-2])
    return min(float(np.nan_to_num(speed)), 5.0)


def _height(points: NDArray[np.float64], wrist: int) -> float:
    if not len(points) or np.isnan(points[-1, wrist, 1]):
        return 2.0
    return float(np.clip(points[-1, wrist, 1], -2.0, 2.0))
