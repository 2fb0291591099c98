"""The keypoints of the clips, as MediaPipe found them: made once, kept in one file a split.

Frames follow each other without gaps. Values are whole numbers of 1/8192 (a frame's width or
height is 1; 0.04 pixels), as differences to the frame before in 16 bits, which compress well. The
legs, which no model looks at, are left out and come back as zeros; a part that was not found is
NaN again.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base.errors import DataError
from base.files import DAMAGED_ARRAYS, write_arrays
from sign_backend.clip import PARTS, Keypoints
from sign_backend.postprocess import LEGS
from signers.byte_planes import from_planes, to_planes
from signers.clips import Split
from signers.drawing import HEIGHT, WIDTH

DATA = Path(__file__).with_name("data")
_STEPS = 8192
_MOTION_STEPS = 65535


@dataclass(frozen=True)
class Recording:
    """One clip.

    Attributes:
        number: of the clip in its split.
        gesture: 0 to 19.
        keypoints: of all of its frames.
        motion: [T, 2], see `sign_backend.motion`.
    """

    number: int
    gesture: int
    keypoints: Keypoints
    motion: NDArray[np.float32]


@lru_cache(maxsize=4)
def load_recordings(split: Split, folder: Path = DATA) -> tuple[Recording, ...]:
    """All clips of a split, by number from 0 on.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = folder / f"{split}.npz"
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        ends = np.cumsum(arrays["lengths"])[:-1]
        points = np.split(_unpacked(arrays["low"], arrays["high"], arrays["found"]), ends)
        motion = np.split(arrays["motion"].astype(np.float32) / _MOTION_STEPS, ends)
        return tuple(
            Recording(
                number, int(gesture), Keypoints(points[number], HEIGHT, WIDTH), motion[number]
            )
            for number, gesture in enumerate(arrays["gestures"])
        )
    except DAMAGED_ARRAYS as error:
        raise DataError(f"{path}: {error}; 'prunegym train-generator sign' makes it") from None


def save_recordings(split: Split, recordings: list[Recording], folder: Path = DATA) -> Path:
    """Write the file of a split; the clips are numbered from 0 on, without gaps."""
    points = np.concatenate([recording.keypoints.points for recording in recordings])
    found = np.stack([~np.isnan(points[:, part]).any(axis=(1, 2)) for part in PARTS.values()], 1)
    steps = np.round(np.nan_to_num(np.delete(points, np.r_[LEGS], axis=1)) * _STEPS)
    if np.abs(steps).max() > 32767:
        raise DataError(f"a coordinate is {np.abs(steps).max() / _STEPS:.1f}; expected below 4")
    change = np.diff(steps.astype(np.int16), axis=0, prepend=np.int16(0))
    low, high = to_planes(change.reshape(len(change), -1))
    motion = np.concatenate([recording.motion for recording in recordings])
    arrays = {
        "low": low,
        "high": high,
        "found": found,
        "motion": np.round(motion * _MOTION_STEPS).astype(np.uint16),
        "lengths": [len(recording.motion) for recording in recordings],
        "gestures": [recording.gesture for recording in recordings],
    }
    return write_arrays(folder / f"{split}.npz", arrays)


def _unpacked(
    low: NDArray[np.uint8], high: NDArray[np.uint8], found: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[all frames, 75, 3]."""
    change = from_planes(low, high)  # [frames, 67 * 3]
    steps = np.cumsum(change, axis=0, dtype=np.int16)
    kept = np.delete(np.arange(75), np.r_[LEGS])
    points = np.zeros((len(steps), 75, 3))
    points[:, kept] = steps.reshape(len(steps), len(kept), 3) / _STEPS
    for column, part in enumerate(PARTS.values()):
        points[~found[:, column], part] = np.nan
    return points
