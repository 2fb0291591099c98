"""Keypoints of frames that are looked at, from a run that looked at all: a model of a tracker.

MediaPipe looks for a hand where it was a frame ago. After a gap it may have moved on, and is lost
until it is found anew. So once a frame was left out, a hand of the full run is found by chance,

    P(found) = sigmoid(w . (1, log2 gap, travel, lost, log2 losses, away)),

gap: frames since the last look; travel: how far the wrist went since, in shoulder widths, at most
1.5; lost: whether the hand was lost at the last look, though the full run had it; losses: at how
many looks in a row; away: whether the full run had none there. w is fitted to live runs
(`benchmarks/sign_tracking.py`, which also measures how far the model is off). The body is taken
over as it is: it is hardly ever lost. Nothing is found that the full run did not find. That the
tracker smooths the body over the frames that it is shown, and imagines hidden arms elsewhere after
a gap, is not modelled here; `sign_backend/recorded_tracking.py` has it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base.errors import DataError
from base.files import read_json
from sign_backend.clip import LEFT_HAND, RIGHT_HAND
from sign_backend.request import SignRequest

Points = NDArray[np.float64]
HANDS = (LEFT_HAND, RIGHT_HAND)
WRISTS = (15, 16)  # rows of the body
SHOULDERS = (11, 12)
INPUTS = ("one", "log2_gap", "travel", "lost", "log2_losses", "away")
_FAR = 1.5
WEIGHTS = Path(__file__).with_name("data") / "tracking_loss.json"


@dataclass(frozen=True)
class TrackingLoss:
    """The cached way of looking; see the module. `weights` has one number for each of `INPUTS`."""

    weights: tuple[float, ...]

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> "TrackingLoss":
        """The fitted model that comes with the package."""
        fitted = read_json(path)["weights"]
        return cls(tuple(float(fitted[name]) for name in INPUTS))

    @property
    def fingerprint(self) -> str:
        """What the results depend on."""
        return f"cached{self.weights}"

    def look(
        self, request: SignRequest, kept: tuple[int, ...], points: Points, new: Sequence[int]
    ) -> Points:
        """[n, 75, 3]: what is found in the frames `new`.

        Args:
            request: whose clip has keypoints of all frames.
            kept: the frames that were looked at before, in order.
            points: [kept, 75, 3] what was found in them.
            new: later frames, in order.

        Raises:
            DataError: the clip has no keypoints.
        """
        if request.clip.keypoints is None:
            raise DataError(f"{request.label} has no keypoints; use the live backend")
        full = request.clip.keypoints.points
        found = full[list(new)].copy()
        luck = _luck(request, len(full))
        seen = list(kept)
        losses = [losses_in_a_row(full, seen, points, hand) for hand in range(len(HANDS))]
        for place, frame in enumerate(new):
            whole = len(seen) == frame  # nothing was left out: this is the full run
            for hand, rows in enumerate(HANDS):
                if whole or not seen or np.isnan(full[frame, rows.start, 0]):
                    continue
                inputs = loss_inputs(full, losses[hand], seen[-1], frame, hand)
                if luck[frame, hand] < self.chance(inputs):
                    losses[hand] = 0
                else:
                    losses[hand] += 1
                    found[place, rows] = np.nan
            seen.append(frame)
        return found

    def chance(self, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(found) of inputs [..., 6]."""
        return 1 / (1 + np.exp(-(inputs @ np.array(self.weights))))


def loss_inputs(
    full: Points, losses: int, before: int, frame: int, hand: int
) -> NDArray[np.float64]:
    """[6], see the module.

    Args:
        full: [T, 75, 3] of the run that looked at every frame.
        losses: at how many looks in a row this run has lost the hand until now.
        before: the frame of the last look.
        frame: the frame that it looks at now.
        hand: 0 left, 1 right.
    """
    away = bool(np.isnan(full[before, HANDS[hand].start, 0]))
    width = float(np.linalg.norm(full[frame, SHOULDERS[0], :2] - full[frame, SHOULDERS[1], :2]))
    way = float(np.linalg.norm(full[frame, WRISTS[hand], :2] - full[before, WRISTS[hand], :2]))
    travel = float(np.nan_to_num(way / max(width, 1e-6), nan=_FAR))
    log_gap, lost = np.log2(frame - before), losses > 0
    return np.array(
        [1.0, log_gap, min(travel, _FAR), lost, np.log2(max(losses, 1)), away and not lost]
    )


def losses_in_a_row(full: Points, looked: Sequence[int], points: Points, hand: int) -> int:
    """At how many looks before now a hand was lost that the full run had there.

    Args:
        full: [T, 75, 3] of the run that looked at every frame.
        looked: the frames of the looks, in order.
        points: [looked, 75, 3] what was found.
        hand: 0 left, 1 right.
    """
    start = HANDS[hand].start
    there = ~np.isnan(full[list(looked), start, 0])
    got = ~np.isnan(points[:, start, 0])
    found = np.flatnonzero(got)
    return int(there[found[-1] + 1 :].sum() if len(found) else there.sum())


def _luck(request: SignRequest, frames: int) -> NDArray[np.float64]:
    """[T, 2] in [0, 1): belongs to frame and hand, whatever else is looked at."""
    key = zlib.crc32(request.clip.content.encode())
    return np.random.default_rng((request.seed, key)).random((frames, 2))
