"""Keypoints of frames that are looked at by the tracker itself, with its memory.

The memory lives in a worker process and cannot be copied, but it is a function of the frames that
were shown. So a state names those frames, and a tracker that has seen exactly these is gone on
with; where there is none (a fork, an old state) a new one is shown them again.
"""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from base.bounded import BoundedMemory
from base.errors import DataError
from sign_backend.mediapipe_source import MediaPipeSource, Tracker
from sign_backend.request import Frames, SignRequest

_MOST_TRACKERS = 16  # each holds its models: about 200 MB
_FRAMES_BYTES = 2**31  # of clips in work; those beyond are read anew for every window


class LiveTracking:
    """The live way of looking; see `sign_backend.tracking_loss` for the cached one."""

    def __init__(self, source: MediaPipeSource):
        self.source = source
        self.fingerprint = f"live, {source.pose_model}"
        self._trackers: OrderedDict[tuple[str, tuple[int, ...]], Tracker] = OrderedDict()
        self._frames: BoundedMemory[Frames] = BoundedMemory(_FRAMES_BYTES)

    def look(
        self,
        request: SignRequest,
        kept: tuple[int, ...],
        points: NDArray[np.float64],
        new: Sequence[int],
    ) -> NDArray[np.float64]:
        """[n, 75, 3]: what is found in the frames `new` after those of `kept`.

        Raises:
            DataError: the clip has no frames, or the tracker fails.
            ResourceError: there is no tracker here.
        """
        if not new:
            return np.zeros((0, 75, 3))
        frames = self._read(request)
        tracker = self._trackers.pop((request.clip.content, kept), None)
        if tracker is None:
            tracker = self.source.tracker()
            if kept:
                tracker.track(frames[list(kept)])
        found = tracker.track(frames[list(new)])
        self._keep((request.clip.content, (*kept, *new)), tracker)
        return found

    def forget(self) -> None:
        """Of clips that are done: their frames, and the trackers that saw them."""
        for tracker in self._trackers.values():
            tracker.close()
        self._trackers.clear()
        self._frames = BoundedMemory(_FRAMES_BYTES)

    def close(self) -> None:
        """Forget everything; end the workers."""
        self._trackers.clear()
        self.source.close()

    def _keep(self, seen: tuple[str, tuple[int, ...]], tracker: Tracker) -> None:
        replaced = self._trackers.pop(seen, None)
        if replaced is not None:
            replaced.close()
        self._trackers[seen] = tracker
        if len(self._trackers) > _MOST_TRACKERS:
            self._trackers.popitem(last=False)[1].close()

    def _read(self, request: SignRequest) -> Frames:
        clip = request.clip
        frames = self._frames.get(clip.content)
        if frames is None:
            if clip.frames is None:
                raise DataError(f"{clip.name} has keypoints, but no frames to look at")
            frames = clip.frames()
            self._frames.put(clip.content, frames, frames.nbytes)
        return frames
