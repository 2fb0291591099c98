"""Draw the clips and look for their keypoints, the first part of `signers.recipe`. Restartable.

It needs MediaPipe (`make setup-sign`). Every clip is a file in the run folder until all of them are
there.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from base.files import write_arrays
from sign_backend.clip import Keypoints
from sign_backend.mediapipe_source import MediaPipeSource
from sign_backend.motion import motion
from signers.clips import Split, make_clip
from signers.drawing import HEIGHT, WIDTH, frames
from signers.keypoints import Recording, save_recordings

logger = logging.getLogger(__name__)


def extract(counts: Mapping[Split, int], run_dir: Path, out: Path) -> None:
    """Write the keypoints of all clips.

    Args:
        counts: how many clips of each split.
        run_dir: one file a clip.
        out: one file a split.
    """
    source = MediaPipeSource()
    for split, count in counts.items():
        recordings = [_recording(source, split, number, run_dir) for number in range(count)]
        path = save_recordings(split, recordings, out)
        logger.info("%s: %d clips, %.2f MB", path, count, path.stat().st_size / 1e6)
    source.close()


def _recording(source: MediaPipeSource, split: Split, number: int, run_dir: Path) -> Recording:
    clip = make_clip(split, number)
    place = run_dir / f"{clip.name}.npz"
    if not place.exists():
        pictures = frames(clip)
        with source.tracker() as tracker:
            points = tracker.track(pictures)
        found = [int((~np.isnan(points[:, row, 0])).sum()) for row in (0, 33, 54)]
        logger.info("%s: %d frames, body and hands in %s", clip.name, len(points), found)
        write_arrays(place, {"points": points, "motion": motion(pictures)})
    with np.load(place) as file:
        keypoints = Keypoints(file["points"], HEIGHT, WIDTH)
        return Recording(number, clip.gesture, keypoints, file["motion"])
