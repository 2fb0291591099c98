"""Keypoints by MediaPipe Holistic: whole videos, kept between runs, or frame by frame."""

import contextlib
import hashlib
import itertools
import json
import logging
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.cache_folder import cache_folder
from base.errors import ConfigError, DataError
from base.files import DAMAGED_ARRAYS, write_arrays
from sign_backend.clip import NUM_KEYPOINTS, Keypoints
from sign_backend.keypoint_process import KeypointProcess, worker_python

logger = logging.getLogger(__name__)
POSE_MODELS = ("lite", "full", "heavy")  # MediaPipe's model_complexity 0, 1, 2
_IMAGES = (".jpg", ".jpeg", ".png")


class MediaPipeSource:
    """A `KeypointSource`; as many worker processes as there are threads that ask at once.

    Args:
        pose_model: `full` comes with MediaPipe; `heavy` (what the released models were trained on)
            and `lite` need their file in its folder.
        sharpen_sigma: as in `SignConfig`; None: frames as they are.
        keep: keep what was found, by the content of the video.
        timeout_s: how long a worker may be silent.

    Raises:
        ConfigError: an unknown pose model.
        ResourceError: there is no environment with MediaPipe.
    """

    def __init__(
        self,
        pose_model: str = "full",
        sharpen_sigma: float | None = None,
        keep: bool = True,
        timeout_s: float = 120.0,
    ):
        if pose_model not in POSE_MODELS:
            raise ConfigError(
                f"pose model {pose_model!r}; expected one of {', '.join(POSE_MODELS)}"
            )
        self.pose_model, self.complexity = pose_model, POSE_MODELS.index(pose_model)
        self.sharpen_sigma, self.keep, self._timeout_s = sharpen_sigma, keep, timeout_s
        self._python = worker_python()
        self._idle: queue.SimpleQueue[KeypointProcess] = queue.SimpleQueue()
        self._tracking: KeypointProcess | None = None
        self._numbers = itertools.count()

    def extract(self, path: Path) -> Keypoints:
        """Return the keypoints of all frames of a video file or of a folder with its frames.

        Raises:
            DataError: this one cannot be read.
            ResourceError: nothing can be extracted here.
        """
        if not path.exists():
            raise DataError(f"{path} does not exist")
        with self._worker() as worker:
            place = self._place(path, worker.versions)
            kept = _read(place) if self.keep else None
            if kept is not None:
                return kept
            answer, data = worker.ask(
                str(path),
                {
                    "do": "extract",
                    "path": str(path),
                    "complexity": self.complexity,
                    "sharpen_sigma": self.sharpen_sigma,
                },
            )
        if answer["frames"] != answer["expected"]:
            logger.warning(
                "%s: %s of %s frames could be decoded", path, answer["frames"], answer["expected"]
            )
        keypoints = Keypoints(
            _points(data), answer["height"], answer["width"], _announced(answer["expected"])
        )
        if self.keep:
            _write(place, keypoints)
        return keypoints

    def read(self, path: Path) -> NDArray[np.uint8]:
        """[T, height, width, 3] RGB: the frames of a video file or of a folder.

        Raises:
            DataError: this one cannot be read.
        """
        with self._worker() as worker:
            answer, data = worker.ask(str(path), {"do": "read", "path": str(path)})
        shape = (answer["frames"], answer["height"], answer["width"], 3)
        return np.frombuffer(data, np.uint8).reshape(shape)

    def tracker(self) -> "Tracker":
        """A tracker for frames one after the other.

        Raises:
            ResourceError: there is none here.
        """
        if self._tracking is None or not self._tracking.alive:
            self._tracking = KeypointProcess(self._python, self._timeout_s)
        return Tracker(self._tracking, next(self._numbers), self.complexity)

    def close(self) -> None:
        """End the workers that are idle, and all trackers."""
        if self._tracking is not None:
            self._tracking.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def worker_process_id(self) -> int:
        """Of the worker that the next call of a single thread will use."""
        with self._worker() as worker:
            return worker.process_id

    @contextlib.contextmanager
    def _worker(self) -> Iterator[KeypointProcess]:
        """A worker that nobody else talks to; one that died is not used again."""
        worker = None
        with contextlib.suppress(queue.Empty):
            while worker is None or not worker.alive:
                worker = self._idle.get_nowait()
        if worker is None or not worker.alive:
            worker = KeypointProcess(self._python, self._timeout_s)
        try:
            yield worker
        finally:
            if worker.alive:
                self._idle.put(worker)

    def _place(self, path: Path, versions: dict[str, str]) -> Path:
        """Where the keypoints of this content under these settings are kept."""
        settings = {
            "content": content_of(path),
            "complexity": self.complexity,
            "sharpen_sigma": self.sharpen_sigma,
            "mediapipe": versions["mediapipe"],
            "opencv": versions["opencv"],
        }
        name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return cache_folder() / "keypoints" / f"{name[:40]}.npz"


class Tracker:
    """Frames in, keypoints out, with the tracker's memory in between.

    All trackers of a source live in one worker; they are not for several threads at once.
    """

    def __init__(self, worker: KeypointProcess, number: int, complexity: int):
        self._worker, self._number = worker, number
        self._ask({"do": "open", "complexity": complexity})

    def track(self, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[n, 75, 3] of the next frames, [n, height, width, 3] RGB.

        Raises:
            DataError: the worker died or went silent; a new tracker has to be opened.
        """
        count, height, width, _ = frames.shape
        header = {"do": "track", "frames": count, "height": height, "width": width}
        return _points(self._ask(header, np.ascontiguousarray(frames).tobytes()))

    def close(self) -> None:
        """Forget what was tracked."""
        if self._worker.alive:
            self._ask({"do": "close"})

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, header: dict[str, Any], payload: bytes = b"") -> bytes:
        return self._worker.ask("tracker", {**header, "tracker": self._number}, payload)[1]


def _points(data: bytes) -> NDArray[np.float64]:
    return np.frombuffer(data, np.float64).reshape(-1, NUM_KEYPOINTS, 3)


def content_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's images."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for image in sorted(path.iterdir()):
        if image.suffix.lower() in _IMAGES:
            digest.update(f"{image.name}\n{content_of(image)}\n".encode())
    return digest.hexdigest()


def _announced(frames: int) -> int | None:
    """Containers that do not know how many frames they have say 0, or less."""
    return frames if frames > 0 else None


def _read(place: Path) -> Keypoints | None:
    """What is kept there; None if nothing is, or if it is damaged."""
    if not place.exists():
        return None
    try:
        with np.load(place) as file:
            size = int(file["height"]), int(file["width"])
            return Keypoints(file["points"], *size, _announced(int(file["announced"])))
    except DAMAGED_ARRAYS as error:
        logger.warning("%s is damaged and made again: %s", place, error)
        return None


def _write(place: Path, keypoints: Keypoints) -> None:
    arrays = {
        "points": keypoints.points,
        "height": keypoints.height,
        "width": keypoints.width,
        "announced": keypoints.announced or 0,
    }
    write_arrays(place, arrays)
