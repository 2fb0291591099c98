"""The live runs of a split in one file that comes with the package.

Kept are x and y of what models look at, and z of the joints by whose distance they divide, as
differences to the run that saw every frame, in whole numbers of 1/2048 (a frame's width or height
is 1; 0.16 pixels). Every other z is that of the full run, the legs are, too.
"""

import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import DataError
from base.files import DAMAGED_ARRAYS, write_arrays
from sign_backend.clip import PARTS
from sign_backend.postprocess import LEGS, SCALES
from sign_backend.recorded_tracking import LiveRun, RecordedClip, RecordedTracking
from signers.byte_planes import from_planes, to_planes
from signers.clips import Split
from signers.keypoints import DATA, load_recordings
from signers.live_runs import runs_of

_STEPS = 2048
_LARGEST = 2**15 - 1
_SEEN = np.delete(np.arange(75), np.r_[LEGS])
_DEPTH = np.array(sorted(row for pair in SCALES.values() for row in pair))
# places in a flat frame [225]
_KEPT = np.concatenate([(3 * _SEEN[:, None] + [0, 1]).ravel(), 3 * _DEPTH + 2])


def pack(run_dir: Path, split: Split, folder: Path = DATA, *, add: bool = False) -> Path:
    """Write the runs of a split that are in `run_dir`; return the file.

    Args:
        run_dir: files of live runs.
        split: of the clips.
        folder: where the file is.
        add: keep the runs that it has.

    Raises:
        DataError: there are none.
    """
    clips, lengths, frames, steps, found = [], [], [], [], []
    for clip, recording in enumerate(load_recordings(split)):
        before = unpack(split, clip, folder) if add else []
        runs = [*before, *runs_of(run_dir, split, clip)]
        # the same frames once: the tracker finds the same again
        for run in {tuple(run.frames.tolist()): run for run in runs}.values():
            clips.append(clip)
            lengths.append(len(run.frames))
            frames.append(run.frames)
            full = np.nan_to_num(recording.keypoints.points[run.frames])
            off = (np.nan_to_num(run.points) - full).reshape(len(full), -1)[:, _KEPT]
            steps.append(np.clip(np.round(off * _STEPS), -_LARGEST, _LARGEST).astype(np.int16))
            starts = [part.start for part in PARTS.values()]
            found.append(~np.isnan(run.points[:, starts, 0]))
    if not clips:
        raise DataError(f"no live runs of {split} clips in {run_dir}: prunegym record-signers")
    low, high = to_planes(np.concatenate(steps))
    arrays = {
        "low": low,
        "high": high,
        "found": np.concatenate(found),
        "frames": np.concatenate(frames).astype(np.uint8),
        "lengths": np.array(lengths, np.uint8),
        "clips": np.array(clips, np.uint16),
    }
    path = write_arrays(folder / f"{split}_live.npz", arrays)
    _load.cache_clear()
    return path


@lru_cache(maxsize=4)
def _load(split: Split, folder: Path) -> dict[str, NDArray[Any]]:
    path = folder / f"{split}_live.npz"
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        steps = from_planes(arrays.pop("low"), arrays.pop("high"))
        ends = np.cumsum(arrays["lengths"], dtype=np.int64)
        return {**arrays, "steps": steps, "ends": ends}
    except DAMAGED_ARRAYS as error:
        raise DataError(f"{path}: {error}; 'prunegym record-signers' makes it") from None


def unpack(split: Split, clip: int, folder: Path = DATA) -> list[LiveRun]:
    """The runs of a clip.

    Raises:
        DataError: the file is missing or damaged.
    """
    packed = _load(split, folder)
    full = load_recordings(split)[clip].keypoints.points
    runs = []
    for number in np.flatnonzero(packed["clips"] == clip):
        end = int(packed["ends"][number])
        looks = slice(end - int(packed["lengths"][number]), end)
        frames = packed["frames"][looks].astype(np.int64)
        points = np.nan_to_num(full[frames]).reshape(len(frames), -1)
        points[:, _KEPT] += packed["steps"][looks].astype(np.float64) / _STEPS
        points = points.reshape(len(frames), *full.shape[1:])
        for column, part in enumerate(PARTS.values()):
            points[~packed["found"][looks, column], part] = np.nan
        runs.append(LiveRun(frames, points))
    return runs


def load_tracking(folder: Path = DATA) -> RecordedTracking:
    """The way of looking that replays them, see `sign_backend/recorded_tracking.py`."""

    @lru_cache(maxsize=1024)  # all clips of a training: making one reads all of its runs
    def recorded(name: str) -> RecordedClip:
        word, _, rest = name.partition(" ")
        split, _, clip = rest.partition(" ")
        there = word == "signer" and (folder / f"{split}_live.npz").is_file()
        runs = unpack(split, int(clip), folder) if there else []  # type: ignore[arg-type]
        if not runs:
            raise DataError(
                f"{name}: no live runs were recorded (but of drawn signers for training and "
                "validation); use sign or sign:live"
            )
        full = load_recordings(split)[int(clip)].keypoints.points  # type: ignore[arg-type]
        return RecordedClip(full, runs)

    files = [place.read_bytes() for place in sorted(folder.glob("*_live.npz"))]
    return RecordedTracking(recorded, f"{zlib.crc32(b''.join(files)):08x}")
