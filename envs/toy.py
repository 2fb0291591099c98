"""A toy generator: the smallest complete example of the protocol, in NumPy, microseconds a stage.

It paints a 16x16 canvas from coarse to fine. How much fine detail a request holds depends on the
request, and the `detail` feature tells: pruning the last stages costs a detailed request its
picture and a plain one nothing, so there is something to learn. Rows are ragged (3 to 5 stages) and
a decision has two fields: the share of the stage's tokens that is left out, and whether guidance
(here: contrast, at twice the cost) goes on. Guidance that was dropped stays dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from base.decisions import SKIP, Choice, Decision, DecisionSpace, Ratio
from base.errors import GenerationError
from base.stages import Stage

SIDE = 16
FLOPS_PER_TOKEN = 1000.0


@dataclass(frozen=True)
class ToyRequest:
    """Request number `index`, drawn with the noise of `seed`."""

    index: int
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self.index}/{self.seed}"

    @property
    def label(self) -> str:
        return f"toy {self.index}"

    @property
    def detail(self) -> float:
        """How strong the finest strokes are, in [0, 1): spread evenly over the indices."""
        return self.index * 0.618 % 1.0

    @property
    def sides(self) -> tuple[int, ...]:
        """The grids of the stages, coarse to fine: 3, 4 or 5 of them, the last one 16x16."""
        return tuple(SIDE >> k for k in reversed(range(3 + self.index % 3)))

    def with_seed(self, seed: int) -> "ToyRequest":
        return replace(self, seed=seed)


@dataclass(frozen=True)
class ToyState:
    """Generation in the middle. `canvas` is [B, 16, 16] float32, the others are [B]."""

    requests: tuple[ToyRequest, ...]
    stage: np.ndarray
    done: np.ndarray
    guided: np.ndarray
    canvas: np.ndarray


class ToyGenerator:
    """See the module. `output_kind` is `image` (grey as RGB) or `tokens` (16 grey levels)."""

    feature_names: tuple[str, ...] = ("detail", "canvas_energy", "guidance_on")
    max_stages = 5
    decision_space = DecisionSpace(
        fields={"prune_ratio": Ratio(), "guidance": Choice((True, False))},
        menu=tuple({"prune_ratio": ratio} for ratio in (0.0, 0.4, 0.7, SKIP)),
    )

    def __init__(self, output_kind: str = "image"):
        self.output_kind = output_kind
        self.fingerprint = f"toy1-{output_kind}"

    def stages(self, request: ToyRequest) -> tuple[Stage, ...]:
        return tuple(
            Stage(f"{side}x{side}", side**2, 2 * FLOPS_PER_TOKEN * side**2)
            for side in request.sides
        )

    def fixed_cost(self, request: ToyRequest) -> float:
        return 50 * FLOPS_PER_TOKEN

    def begin(self, requests: Sequence[ToyRequest]) -> ToyState:
        rows = len(requests)
        return ToyState(
            requests=tuple(requests),
            stage=np.zeros(rows, np.int64),
            done=np.zeros(rows, bool),
            guided=np.ones(rows, bool),
            canvas=np.zeros((rows, SIDE, SIDE), np.float32),
        )

    def allowed(self, state: ToyState, decisions: Sequence[Decision]) -> np.ndarray:
        full = [self.decision_space.complete(decision) for decision in decisions]
        skip = np.array([decision["prune_ratio"] == SKIP for decision in full])
        guidance = np.array([decision["guidance"] for decision in full])
        # a skipped stage says nothing about guidance; the first stage cannot be skipped
        return np.where(skip, state.stage[:, None] > 0, state.guided[:, None] >= guidance)

    def cost(self, state: ToyState, decisions: Sequence[Decision]) -> np.ndarray:
        costs = np.zeros(len(state.requests))
        for row, decision in enumerate(map(self.decision_space.complete, decisions)):
            if not state.done[row]:
                side = state.requests[row].sides[state.stage[row]]
                kept = side**2 - int(decision["prune_ratio"] * side**2)
                costs[row] = FLOPS_PER_TOKEN * kept * (2 if decision["guidance"] else 1)
        return costs

    def advance(self, state: ToyState, decisions: Sequence[Decision]) -> ToyState:
        allowed = self.allowed(state, decisions).diagonal()
        stage, done = state.stage.copy(), state.done.copy()
        guided, canvas = state.guided.copy(), state.canvas.copy()
        for row, decision in enumerate(map(self.decision_space.complete, decisions)):
            if state.done[row]:
                continue
            request = state.requests[row]
            if not allowed[row]:
                raise GenerationError(f"{request.label}: stage {stage[row]} forbids {decision}")
            if decision["prune_ratio"] != SKIP:
                guided[row] = decision["guidance"]
                contrast = 1.0 if guided[row] else 0.8
                canvas[row] += contrast * self._stroke(request, stage[row], decision["prune_ratio"])
            stage[row] += 1
            done[row] = stage[row] == len(request.sides)
        return ToyState(state.requests, stage, done, guided, canvas)

    def _stroke(self, request: ToyRequest, stage: int, ratio: float) -> np.ndarray:
        """[16, 16]: what this stage adds; the faintest `ratio` of its tokens are left out."""
        side = request.sides[stage]
        noise = np.random.default_rng((request.seed, request.index, side))
        grid = noise.standard_normal(side**2).astype(np.float32)
        grid[np.argsort(np.abs(grid))[: int(ratio * side**2)]] = 0
        strength = request.detail if side >= SIDE // 2 else 1.0
        return strength * np.kron(grid.reshape(side, side), np.ones((SIDE // side,) * 2))

    def fork(self, state: ToyState, rows: Sequence[int]) -> ToyState:
        chosen = np.asarray(rows, np.int64)
        return ToyState(
            tuple(state.requests[row] for row in chosen),
            *(array[chosen] for array in (state.stage, state.done, state.guided, state.canvas)),
        )

    def join(self, states: Sequence[ToyState]) -> ToyState:
        return ToyState(
            sum((state.requests for state in states), ()),
            *(
                np.concatenate([getattr(state, name) for state in states])
                for name in ("stage", "done", "guided", "canvas")
            ),
        )

    def features(self, state: ToyState) -> np.ndarray:
        detail = [request.detail for request in state.requests]
        energy = np.abs(state.canvas).mean((1, 2))
        return np.stack([detail, energy, state.guided], axis=1).astype(np.float32)

    def preview(self, state: ToyState, rows: Sequence[int] | None = None) -> Any:
        canvas = state.canvas if rows is None else state.canvas[np.asarray(rows, np.int64)]
        levels = np.clip(8 + 3 * canvas, 0, 15).astype(np.uint8)  # [rows, 16, 16]
        if self.output_kind == "tokens":
            return list(levels.reshape(len(levels), -1))
        return np.repeat(17 * levels[..., None], 3, axis=-1)

    def finish(self, state: ToyState) -> Any:
        return self.preview(state, np.flatnonzero(state.done).tolist())
