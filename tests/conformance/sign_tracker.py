"""The keypoints of a video against those that MediaPipe found in it.

Other processors give slightly other numbers, so the tolerances are wide: x and y of the body within
0.01 of the picture, of hands within 0.02, and a part may be found or lost in three more frames.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from base.errors import ResourceError
from sign_backend.clip import PARTS
from sign_backend.mediapipe_source import POSE_MODELS, MediaPipeSource
from tests.conformance.checks import Checks

_NEAR = {"body": 0.01, "left hand": 0.02, "right hand": 0.02}
_FRAMES_FOUND_OR_LOST = 3.0


def check_tracker(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """The recorded video whole, and with frames left out, each by a tracker of its own."""
    said = entry.get("mediapipe", "")
    complexity = next((n for n in range(3) if f"model_complexity={n}" in said), 1)
    try:
        source = MediaPipeSource(POSE_MODELS[complexity], keep=False)
    except ResourceError as error:
        checks.not_run("keypoints", str(error))
        return
    try:
        video = folder / entry["video"]
        frames = source.read(video)
        for name, expected in load_file(folder / entry["file"]).items():
            stride = int(name.removeprefix("stride"))
            found = source.extract(video).points if stride == 1 else _every(source, frames, stride)
            _compare(name, found, expected, checks)
    except ResourceError as error:  # such as a pose model whose file is not there
        checks.not_run("keypoints", str(error))
    finally:
        source.close()


def _every(source: MediaPipeSource, frames: NDArray[np.uint8], stride: int) -> NDArray[np.float64]:
    """Keypoints of frames 0, stride, ... and the last one; the others are not looked at."""
    points = np.full((len(frames), 75, 3), np.nan)
    looked_at = sorted({*range(0, len(frames), stride), len(frames) - 1})
    with source.tracker() as tracker:
        points[looked_at] = tracker.track(frames[looked_at])
    return points


def _compare(
    name: str, got: NDArray[np.float64], expected: NDArray[np.float64], checks: Checks
) -> None:
    if got.shape != expected.shape:
        checks.near(name, torch.from_numpy(got), torch.from_numpy(expected), 0.0)
        return
    for part, rows in PARTS.items():
        here, there = (~np.isnan(each[:, rows]).any(axis=(1, 2)) for each in (got, expected))
        differing = torch.tensor(float((here != there).sum()))
        checks.near(
            f"{name}: {part} found or lost", differing, torch.tensor(0.0), _FRAMES_FOUND_OR_LOST
        )
        both = here & there
        one, other = (torch.from_numpy(each[both, rows, :2]) for each in (got, expected))
        checks.near(f"{name}: {part}", one, other, _NEAR[part])
