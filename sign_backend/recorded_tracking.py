"""Keypoints of frames that are looked at, from live runs that looked at others: a tracker replayed.

What MediaPipe finds hangs on what it saw before: the body is smoothed over the frames that it is
shown, hands are sought where they were, and both can go astray for long. Several live runs of a
clip have looked at most of its frames, each after other gaps. So a look takes over, whole, what
that of these runs found which was in the most similar situation there (as long as nothing is left
out: what the run found that saw every frame). How different two are:

    sum over k of .9^k [one looked k + 1 frames before, the other did not]
    + .4 for each hand that one had found at its last look and the other had not
    + 10 |difference of how far shoulders, elbows and wrists were off then|, in shoulder widths

where "off" is the difference to the run that saw every frame. The constants were chosen by leaving
one run out of training clips. `benchmarks/sign_tracking.py` measures how far this is off.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from base.errors import DataError
from sign_backend.clip import LEFT_HAND, RIGHT_HAND
from sign_backend.request import SignRequest

Points = NDArray[np.float64]
_PAST = 0.9 ** np.arange(16)  # weights of the frames before, the nearest first
_HAND, _OFF, _LUCK = 0.4, 10.0, 0.05
_HANDS = [LEFT_HAND.start, RIGHT_HAND.start]
_SHOULDERS = (11, 12)
_ARMS = [11, 12, 13, 14, 15, 16]
_NOWHERE = -1.0  # of hands before the first look: neither found nor not


@dataclass(frozen=True)
class LiveRun:
    """What a tracker found in some frames of a clip.

    Attributes:
        frames: [n] that it was shown, in order.
        points: [n, 75, 3] what it found.
    """

    frames: NDArray[np.int64]
    points: Points


@dataclass(frozen=True)
class Memory:
    """The situation before a look, of one run [...] or of n of them [n, ...].

    Attributes:
        looked: [..., 16] 1 where the frames before were looked at, the nearest first.
        found: [..., 2] whether each hand was found at the last look; -1 before the first one.
        off: [..., 12] how far x and y of the arms were off then, in shoulder widths.
    """

    looked: NDArray[np.float64]
    found: NDArray[np.float64]
    off: NDArray[np.float64]

    def differences(self, other: "Memory") -> NDArray[np.float64]:
        """[n] to another one."""
        past: NDArray[np.float64] = np.abs(self.looked - other.looked) @ _PAST
        hands = (self.found != other.found).sum(-1)
        off: NDArray[np.float64] = np.linalg.norm(self.off - other.off, axis=-1)
        return past + _HAND * hands + _OFF * off


class RecordedClip:
    """The live runs of one clip, by the frames that they looked at.

    Args:
        full: [T, 75, 3] what the run found that saw every frame.
        runs: the others.
    """

    def __init__(self, full: Points, runs: Sequence[LiveRun]):
        self.width = shoulder_width(full)
        memories: dict[int, list[Memory]] = {}
        found: dict[int, list[Points]] = {}
        for run in runs:
            for place, frame in enumerate(run.frames.tolist()):
                before = run.frames[:place]
                last = run.points[place - 1] if place else None
                now = memory(before, last, full, frame, self.width)
                memories.setdefault(frame, []).append(now)
                found.setdefault(frame, []).append(run.points[place])
        self.looks = {
            frame: (_stacked(memories[frame]), np.stack(found[frame])) for frame in memories
        }


class RecordedTracking:
    """The replayed way of looking; see the module.

    Args:
        clips: gives the recorded clip of this name.
        fingerprint: tells these runs from others.
    """

    def __init__(self, clips: Callable[[str], RecordedClip], fingerprint: str):
        self.fingerprint = f"recorded {fingerprint}"
        self._clips = clips

    def look(
        self, request: SignRequest, kept: tuple[int, ...], points: Points, new: Sequence[int]
    ) -> Points:
        """[n, 75, 3]: what is found in the frames `new`.

        Args:
            request: whose clip has keypoints of all frames, and live runs.
            kept: the frames that were looked at before, in order.
            points: [kept, 75, 3] what was found in them.
            new: later frames, in order.

        Raises:
            DataError: there are no live runs of the clip.
        """
        clip = request.clip
        if clip.keypoints is None:
            raise DataError(f"{clip.name} has no keypoints; use the live backend")
        recorded, full = self._clips(clip.source or clip.name), clip.keypoints.points
        luck = np.random.default_rng((request.seed, zlib.crc32(clip.content.encode()), len(kept)))
        seen, found = list(kept), list(points)
        for frame in new:
            there = recorded.looks.get(clip.first_frame + frame)
            if len(seen) == frame or there is None:  # nothing was left out, or no run looked there
                found.append(full[frame])
            else:
                last = found[-1] if found else None
                now = memory(np.array(seen, np.int64), last, full, frame, recorded.width)
                difference = there[0].differences(now)
                difference += _LUCK * luck.random(len(difference))
                found.append(there[1][int(difference.argmin())])
            seen.append(frame)
        return np.stack(found[len(kept) :]) if new else np.zeros((0, *full.shape[1:]))


def memory(
    before: NDArray[np.int64], last: Points | None, full: Points, frame: int, width: float
) -> Memory:
    """The situation before a look at `frame`.

    Args:
        before: the frames that were looked at before, in order.
        last: [75, 3] what was found in the last of them; None if there is none.
        full: [T, 75, 3] of the run that saw every frame.
        frame: the one to come.
        width: of the shoulders.
    """
    looked = np.zeros(len(_PAST))
    ago = frame - 1 - before
    looked[ago[ago < len(looked)]] = 1.0
    if last is None:
        return Memory(looked, np.full(len(_HANDS), _NOWHERE), np.zeros(2 * len(_ARMS)))
    found = (~np.isnan(last[_HANDS, 0])).astype(np.float64)
    off = (last[_ARMS, :2] - full[before[-1], _ARMS, :2]).ravel() / width
    return Memory(looked, found, np.where(np.isnan(off), 0.0, off))


def shoulder_width(full: Points) -> float:
    """The mean over a clip [T, 75, 3], in widths of the picture."""
    ways = full[:, _SHOULDERS[0], :2] - full[:, _SHOULDERS[1], :2]
    return max(float(np.nanmean(np.linalg.norm(ways, axis=1))), 1e-6)


def _stacked(memories: Sequence[Memory]) -> Memory:
    return Memory(
        np.stack([each.looked for each in memories]),
        np.stack([each.found for each in memories]),
        np.stack([each.off for each in memories]),
    )
