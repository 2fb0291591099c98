"""Keypoints of the frames that a controller asks for: `prunegym embed --controller`."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agents.parse_controller import parse_controller
from agents.rollout import run_controller
from base.errors import DataError
from sign_backend.checkpoint import SignModel
from sign_backend.clip import Keypoints
from sign_backend.generator import SignGenerator, SignState
from sign_backend.live_tracking import LiveTracking
from sign_backend.mediapipe_source import MediaPipeSource
from sign_backend.request import SignClip, SignRequest
from sign_backend.video_request import video_clip


class KeypointGenerator(SignGenerator):
    """Decides as `SignGenerator` does; what comes out is what was found, [T, 75, 3]."""

    output_kind = "keypoints"
    tracking: LiveTracking

    def finish(self, state: SignState) -> list[Any]:
        """Of the rows that are done."""
        return [self.keypoints(state.rows[row]).points for row in np.flatnonzero(state.done)]


class ControlledKeypoints:
    """A `KeypointSource` that shows the tracker what a controller asks for; NaN elsewhere.

    Nothing is kept between runs: what a tracker finds hangs on the frames that it was shown before.

    Args:
        make_source: a source for each thread that asks; trackers cannot be shared by threads.
        model: whose policies the controller may be.
        controller: as after `--controller`.
        max_frames: the longest clip.

    Attributes:
        frames: [2] looked at, and in all, of the clips so far.

    Raises:
        ConfigError: the controller cannot be read, or does not fit.
        CheckpointError: a policy that is missing, damaged, or made for something else.
    """

    def __init__(
        self,
        make_source: Callable[[], MediaPipeSource],
        model: SignModel,
        controller: str,
        max_frames: int,
    ):
        self._make = lambda: KeypointGenerator(
            model, LiveTracking(make_source()), max_frames=max_frames
        )
        self._own = threading.local()
        self._generators: list[KeypointGenerator] = []
        self._counting = threading.Lock()
        self.frames = np.zeros(2, np.int64)
        longest = SignClip("a clip", "a clip", np.zeros((max_frames, 2), np.float32), 1, 1)
        self.controller = parse_controller(controller, self._generator(), SignRequest(longest))

    def extract(self, path: Path) -> Keypoints:
        """See `KeypointSource`; all frames of a video are held in memory.

        Raises:
            DataError: this one cannot be read, or is too long.
            ResourceError: nothing can be extracted here.
        """
        if not path.exists():
            raise DataError(f"{path} does not exist")
        generator = self._generator()
        frames = generator.tracking.source.read(path)
        if len(frames) > generator.max_frames:
            raise DataError(f"{len(frames)} frames; at most {generator.max_frames} (--max_frames)")
        request = SignRequest(video_clip(path, frames, lambda: frames))
        try:
            result = next(run_controller(generator, self.controller, [request]))
        finally:
            generator.tracking.forget()
        looked = round(sum(result.stage_costs_flops) / generator.cost_table.track_flops)
        with self._counting:
            self.frames += (looked, len(frames))
        return Keypoints(result.output, *frames.shape[1:3])

    def close(self) -> None:
        """End the workers of all threads."""
        for generator in self._generators:
            generator.tracking.close()

    def _generator(self) -> KeypointGenerator:
        """That of this thread."""
        if not hasattr(self._own, "generator"):
            self._own.generator = self._make()
            self._generators.append(self._own.generator)
        generator: KeypointGenerator = self._own.generator
        return generator
