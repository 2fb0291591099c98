"""Live runs of the clips: what the tracker finds when it sees some of the frames.

`prunegym record-signers` makes them and packs them (`signers/packed_runs.py`), `sign:recorded`
replays them (`sign_backend/recorded_tracking.py`). A file has runs of one clip:
`SPLIT_CLIP_ROUND.npz` those with frames by lot (`frames_by_lot`), `SPLIT_CLIP_strides.npz` those of
fixed strides (`frames_of_strides`), `SPLIT_CLIP_POLICY.npz` those of a policy.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from base.errors import DataError
from base.files import DAMAGED_ARRAYS, write_arrays
from sign_backend.generator import frames_looked_at
from sign_backend.recorded_tracking import LiveRun
from signers.clips import Split
from signers.requests import LATER_STARTS

WINDOW = 8
_RATIOS = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0)
# of a Dirichlet distribution: small, so that a run has few ratios, and more often looks little
_UNLIKE = 0.35 * np.array([1, 1, 1, 1, 1.3, 1.3, 1.5])


def frames_by_lot(
    split: Split, clip: int, length: int, number: int = 0, runs: int = 6
) -> list[list[int]]:
    """The frames of each run of a file.

    A quarter of the runs has one ratio in all windows, the others lots of ratios that differ by
    run, so that some look little and some much. Runs of training clips begin at one of the first
    eight frames, as `signers.requests` does.

    Args:
        split: of the clip.
        clip: its number.
        length: frames of the clip.
        number: of the round.
        runs: how many.
    """
    lots = np.random.default_rng((clip, number, zlib.crc32(split.encode())))
    found = []
    for _ in range(runs):
        start = int(lots.integers(LATER_STARTS + 1)) if split == "train" else 0
        if lots.random() < 0.25:
            chances = np.eye(len(_RATIOS))[lots.integers(1, len(_RATIOS) - 1)]
        else:
            chances = lots.dirichlet(_UNLIKE)
        looked: list[int] = []
        for first in range(start, length, WINDOW):
            ratio = _RATIOS[lots.choice(len(_RATIOS), p=chances)]
            if first == start and ratio == 1:
                ratio = 0.875
            looked += frames_looked_at(slice(first, min(first + WINDOW, length)), ratio)
        found.append(looked)
    return found


def frames_of_strides(length: int) -> list[list[int]]:
    """The frames of each run of a file of strides: one ratio in all windows.

    Policies are measured against strides, so these are not left to be put together from other
    runs.

    Args:
        length: frames of the clip.
    """
    return [
        [
            frame
            for first in range(0, length, WINDOW)
            for frame in frames_looked_at(slice(first, min(first + WINDOW, length)), ratio)
        ]
        for ratio in _RATIOS
        if 0 < ratio < 1
    ]


def save_runs(place: Path, runs: Sequence[LiveRun]) -> None:
    """Write a file."""
    arrays = {}
    for number, run in enumerate(runs):
        arrays[f"kept{number}"] = run.frames.astype(np.int16)
        arrays[f"points{number}"] = run.points.astype(np.float32)
    write_arrays(place, arrays)


def runs_of(run_dir: Path, split: Split, clip: int) -> list[LiveRun]:
    """All runs of a clip that are there.

    Raises:
        DataError: a file is damaged.
    """
    found = []
    for place in sorted(run_dir.glob(f"{split}_{clip}_*.npz")):
        try:
            with np.load(place) as file:
                for number in range(len(file.files) // 2):
                    frames = file[f"kept{number}"].astype(np.int64)
                    found.append(LiveRun(frames, file[f"points{number}"].astype(np.float64)))
        except DAMAGED_ARRAYS as error:
            raise DataError(f"{place} is damaged ({error}); delete it and record anew") from None
    return found
