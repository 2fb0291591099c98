"""Sign-language embedding as a generator of the protocol in `envs/generator.py`.

Glossary: B rows, T frames of a clip, W frames of a window, D width.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from base.decisions import SKIP, Decision, DecisionSpace, Ratio
from base.errors import ConfigError, GenerationError
from base.stages import Stage
from sign_backend.checkpoint import SignModel
from sign_backend.clip import NUM_KEYPOINTS, Keypoints
from sign_backend.cost import poseformer_flops
from sign_backend.doubt import DOUBTS, doubts, doubts_flops
from sign_backend.embed import embed, prepare
from sign_backend.features import FEATURES, features
from sign_backend.keypoint_cost import KeypointCost
from sign_backend.kinds import check_kind
from sign_backend.request import SignRequest

_DOUBT_WINDOWS = 8  # a bound for long clips: what they cost does not grow with the length


class Tracking(Protocol):
    """How frames are looked at: `TrackingLoss`, `RecordedTracking` or `LiveTracking`."""

    @property
    def fingerprint(self) -> str:
        """What the results depend on."""

    def look(
        self,
        request: SignRequest,
        kept: tuple[int, ...],
        points: NDArray[np.float64],
        new: Sequence[int],
    ) -> NDArray[np.float64]:
        """[n, 75, 3]: what is found in the frames `new` after those of `kept`."""


@dataclass(frozen=True)
class Row:
    """One clip in the middle: `kept` are the frames looked at, `points` [kept, 75, 3] the finds."""

    request: SignRequest
    stage: int
    num_stages: int
    kept: tuple[int, ...]
    points: NDArray[np.float64]


@dataclass(frozen=True)
class SignState:
    """Rows side by side."""

    rows: tuple[Row, ...]

    @property
    def requests(self) -> tuple[SignRequest, ...]:
        return tuple(row.request for row in self.rows)

    @property
    def stage(self) -> NDArray[np.int64]:
        return np.array([row.stage for row in self.rows], np.int64)

    @property
    def done(self) -> NDArray[np.bool_]:
        return np.array([row.stage == row.num_stages for row in self.rows], bool)


def frames_looked_at(window: slice, ratio: float) -> list[int]:
    """The frames of a window that are looked at when this share of them is not."""
    length = window.stop - window.start
    count = 0 if ratio == SKIP or not length else max(round((1 - ratio) * length), 1)
    return [window.start + index * length // count for index in range(count)]


class SignGenerator:
    """Which frames of a clip are looked at, one window a stage.

    `prune_ratio` is the share of a window's frames that the tracker does not see; those it sees are
    evenly spaced, the first among them: of W = 8, ratio 0.5 is every second frame, 0.75 every
    fourth, 0.875 the first one; 1.0 skips the window (not the first one). Frames not seen are
    filled by the pipeline's own interpolation. MediaPipe's Holistic tracks body and hands in one
    graph, and cannot leave out a part, so there is no field for parts.

    Costs are FLOPs' worth of time, see `sign_backend.keypoint_cost`: a stage costs its frames that
    are looked at; reading, motion and the model are paid whatever is decided.

    Args:
        model: frozen.
        tracking: the cached or the live way of looking.
        kind: which embedding comes out.
        window: W.
        max_frames: the longest clip.
        cost: the measured table; by default the one that comes with the package.
    """

    output_kind = "embedding"
    feature_names: tuple[str, ...] = (*FEATURES, *DOUBTS)
    decision_space = DecisionSpace(
        fields={"prune_ratio": Ratio()},
        menu=tuple({"prune_ratio": ratio} for ratio in (0.0, 0.5, 0.75, 0.875, SKIP)),
    )

    def __init__(
        self,
        model: SignModel,
        tracking: Tracking,
        *,
        kind: str = "CLS",
        window: int = 8,
        max_frames: int = 1000,
        cost: KeypointCost | None = None,
    ):
        check_kind(kind)
        if window < 1 or max_frames < 1:
            raise ConfigError(f"window {window}, max_frames {max_frames}; expected 1 or more")
        self.model, self.tracking, self.kind = model, tracking, kind
        self.window, self.max_frames = window, max_frames
        self.max_stages = -(-max_frames // window)
        self.cost_table = cost or KeypointCost.load()
        self.policy_fingerprint = self._fingerprint()  # it decides for any way of looking
        self.fingerprint = self._fingerprint(tracking.fingerprint)

    def _fingerprint(self, *others: str) -> str:
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        settings = (self.model.config, self.kind, self.window, self.cost_table, *others)
        digest.update(repr(settings).encode())
        return f"sign1-{digest.hexdigest()[:24]}"

    def stages(self, request: SignRequest) -> tuple[Stage, ...]:
        """The windows, named by their first and last frame."""
        windows = [self._window(request, stage) for stage in range(self._num_stages(request))]
        return tuple(
            Stage(
                f"{window.start}-{window.stop - 1}",
                window.stop - window.start,
                (window.stop - window.start) * self.cost_table.track_flops,
            )
            for window in windows
        )

    def fixed_cost(self, request: SignRequest) -> float:
        """Reading and motion of all frames, and the model once."""
        frames = request.clip.num_frames
        model = poseformer_flops(self.model.config, frames)
        return frames * self.cost_table.any_frame_flops + model

    def begin(self, requests: Sequence[SignRequest]) -> SignState:
        """Nothing was looked at.

        Raises:
            ConfigError: a clip without frames, or longer than `max_frames`.
        """
        nothing = np.zeros((0, NUM_KEYPOINTS, 3))
        return SignState(
            tuple(Row(request, 0, self._num_stages(request), (), nothing) for request in requests)
        )

    def _num_stages(self, request: SignRequest) -> int:
        frames = request.clip.num_frames
        if not 1 <= frames <= self.max_frames:
            raise ConfigError(
                f"{request.label} has {frames} frames; expected 1 to {self.max_frames} (max_frames)"
            )
        return -(-frames // self.window)

    def _window(self, request: SignRequest, stage: int) -> slice:
        frames = request.clip.num_frames
        return slice(min(stage * self.window, frames), min((stage + 1) * self.window, frames))

    def _looks(self, row: Row, decision: Decision) -> list[int]:
        """The frames of the row's next window that are looked at."""
        window = self._window(row.request, row.stage)
        return frames_looked_at(window, decision["prune_ratio"])

    def allowed(self, state: SignState, decisions: Sequence[Decision]) -> NDArray[np.bool_]:
        """[B, n] bool: everything, but the first window cannot be skipped."""
        skips = np.array(
            [self.decision_space.complete(each)["prune_ratio"] == SKIP for each in decisions], bool
        )
        return (state.stage > 0)[:, None] | ~skips[None]

    def cost(self, state: SignState, decisions: Sequence[Decision]) -> NDArray[np.float64]:
        """[B] float64: the frames of the next window that are looked at."""
        looks = [
            len(self._looks(row, self.decision_space.complete(decision)))
            for row, decision in zip(state.rows, decisions, strict=True)
        ]
        return np.array(looks, np.float64) * self.cost_table.track_flops

    def advance(self, state: SignState, decisions: Sequence[Decision]) -> SignState:
        """One window of each row that is not done.

        Raises:
            GenerationError: the first window is skipped.
            DataError: the tracker fails.
        """
        allowed = self.allowed(state, decisions).diagonal()
        rows = []
        for row, decision, free in zip(state.rows, decisions, allowed, strict=True):
            if not free:
                raise GenerationError(f"{row.request.label}: the first window cannot be skipped")
            rows.append(self._advanced(row, self.decision_space.complete(decision)))
        return SignState(tuple(rows))

    def _advanced(self, row: Row, decision: Decision) -> Row:
        if row.stage == row.num_stages:
            return row
        new = self._looks(row, decision)
        found = self.tracking.look(row.request, row.kept, row.points, new)
        points = np.concatenate([row.points, found])
        return replace(row, stage=row.stage + 1, kept=(*row.kept, *new), points=points)

    def fork(self, state: SignState, rows: Sequence[int]) -> SignState:
        """Rows copied, dropped or repeated; what they hold is shared."""
        return SignState(tuple(state.rows[row] for row in rows))

    def join(self, states: Sequence[SignState]) -> SignState:
        """States side by side."""
        return SignState(tuple(row for state in states for row in state.rows))

    def features(self, state: SignState) -> NDArray[np.float32]:
        """[B, F] float32; columns in `sign_backend/features.py` and `sign_backend/doubt.py`."""
        if not state.rows:
            return np.zeros((0, len(self.feature_names)), np.float32)
        columns = [
            features(
                row.request.clip.motion,
                self._window(row.request, row.stage),
                row.kept,
                row.points,
                self.window,
            )
            for row in state.rows
        ]
        doubt = doubts(self.model, self.kind, [self._seen(row) for row in state.rows])
        return np.concatenate([np.stack(columns), doubt], axis=1)

    def feature_cost(self, state: SignState) -> NDArray[np.float64]:
        """[B] FLOPs of looking at the features: two passes of the model over the last windows."""
        spans = [self._doubted(row) for row in state.rows]
        return np.array([doubts_flops(self.model.config, s.stop - s.start) for s in spans])

    def _seen(self, row: Row) -> tuple[Keypoints, NDArray[np.int64]]:
        """What was found in the frames that doubts are about, and which of them were looked at."""
        span = self._doubted(row)
        looks = [frame - span.start for frame in row.kept if span.start <= frame < span.stop]
        return self.keypoints(row, span), np.array(looks, np.int64)

    def _doubted(self, row: Row) -> slice:
        """The frames that the doubts of the model are about; none of a row that is done."""
        end = self._window(row.request, row.stage).start if row.stage < row.num_stages else 0
        return slice(max(end - _DOUBT_WINDOWS * self.window, 0), end)

    def keypoints(self, row: Row, frames: slice | None = None) -> Keypoints:
        """What was found in these frames (by default all), NaN where nobody looked."""
        clip = row.request.clip
        points = np.full((clip.num_frames, NUM_KEYPOINTS, 3), np.nan)
        points[list(row.kept)] = row.points
        return Keypoints(points[frames or slice(None)], clip.height, clip.width)

    def preview(self, state: SignState, rows: Sequence[int] | None = None) -> list[Any]:
        """The embeddings of these rows from what was found so far.

        Raises:
            GenerationError: one is not finite.
        """
        chosen = [state.rows[row] for row in (range(len(state.rows)) if rows is None else rows)]
        inputs = [prepare(self.keypoints(row), self.model.config) for row in chosen]
        outputs = embed(self.model, inputs, self.kind) if inputs else []
        for row, output in zip(chosen, outputs, strict=True):
            if not np.isfinite(output).all():
                raise GenerationError(f"{row.request.label}: the embedding is not finite")
        return list(outputs)

    def finish(self, state: SignState) -> list[Any]:
        """The embeddings of the rows that are done."""
        return self.preview(state, np.flatnonzero(state.done).tolist())
