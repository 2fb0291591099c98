"""The stand-in model and figures that the predecessor's environments were recorded on.

Closed forms, described in the README of the recorded folder: the model keeps a number R that grows
with what was pruned, and draws codes and images from it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from base.decisions import SKIP, Decision, DecisionSpace, Ratio
from base.stages import Stage

IMAGE_SIDE, CODE_SIDE, CHANNELS = 192, 8, 32


@dataclass(frozen=True)
class StandInRequest:
    """A prompt; its seed is the number that the predecessor made of it."""

    label: str
    seed: int

    @classmethod
    def of(cls, prompt: str) -> "StandInRequest":
        """The first eight hexadecimal digits of the prompt's MD5."""
        return cls(prompt, int(hashlib.md5(prompt.encode()).hexdigest()[:8], 16))

    @property
    def key(self) -> str:
        return f"{self.seed}/{self.label}"

    def with_seed(self, seed: int) -> "StandInRequest":
        return replace(self, seed=seed)


@dataclass(frozen=True)
class StandInState:
    """`lost` is R of each row [B] float64, codes are [B, 32, 8, 8]."""

    requests: tuple[StandInRequest, ...]
    stage: np.ndarray
    done: np.ndarray
    lost: np.ndarray
    codes: np.ndarray
    previous_codes: np.ndarray


class StandInGenerator:
    """See the module; `sides` are those of the recorded schedule."""

    output_kind = "image"
    fingerprint = "predecessor-stand-in"
    feature_names = ("lost",)
    decision_space = DecisionSpace(
        {"prune_ratio": Ratio()}, tuple({"prune_ratio": r} for r in (0.0, 0.5, SKIP))
    )

    def __init__(self, sides: Sequence[int]):
        self.sides = tuple(sides)
        self.max_stages = len(self.sides)
        self.latent_shape = (CHANNELS, self.sides[-1], self.sides[-1])

    def stages(self, request: StandInRequest) -> tuple[Stage, ...]:
        return tuple(Stage(f"{side}x{side}", side**2, float(side**2)) for side in self.sides)

    def fixed_cost(self, request: StandInRequest) -> float:
        return 1.0

    def begin(self, requests: Sequence[StandInRequest]) -> StandInState:
        rows = len(requests)
        codes = np.zeros((rows, CHANNELS, CODE_SIDE, CODE_SIDE), np.float32)
        zeros = np.zeros(rows, np.int64)
        return StandInState(
            tuple(requests), zeros, zeros.astype(bool), zeros.astype(float), codes, codes
        )

    def allowed(self, state: StandInState, decisions: Sequence[Decision]) -> np.ndarray:
        return np.ones((len(state.requests), len(decisions)), bool)

    def cost(self, state: StandInState, decisions: Sequence[Decision]) -> np.ndarray:
        sides = [self.sides[min(stage, self.max_stages - 1)] for stage in state.stage]
        ratios = [float(decision["prune_ratio"]) for decision in decisions]
        return np.array([s**2 * (1 - r) for s, r in zip(sides, ratios, strict=True)])

    def advance(self, state: StandInState, decisions: Sequence[Decision]) -> StandInState:
        lost, codes, stage = state.lost.copy(), state.codes.copy(), state.stage.copy()
        d, y, x = np.meshgrid(
            np.arange(CHANNELS), np.arange(CODE_SIDE), np.arange(CODE_SIDE), indexing="ij"
        )
        for row in np.flatnonzero(~state.done):
            ratio, scale = float(decisions[row]["prune_ratio"]), int(stage[row])
            lost[row] += ratio * self.sides[scale] / 64
            if ratio < 1:
                wave = np.sin(0.1 * (d + 1) * (y + 1) + 0.2 * x + 0.3 * scale)
                codes[row] = wave * (1 - 0.1 * lost[row]) + state.requests[row].seed % 97 / 97
            stage[row] += 1
        done = stage == self.max_stages
        return StandInState(state.requests, stage, done, lost, codes, state.codes)

    def fork(self, state: StandInState, rows: Sequence[int]) -> StandInState:
        index = list(rows)
        arrays = (state.stage, state.done, state.lost, state.codes, state.previous_codes)
        requests = tuple(state.requests[row] for row in index)
        return StandInState(requests, *(array[index] for array in arrays))

    def join(self, states: Sequence[StandInState]) -> StandInState:
        names = ("stage", "done", "lost", "codes", "previous_codes")
        requests = sum((state.requests for state in states), ())
        arrays = (np.concatenate([getattr(s, name) for s in states]) for name in names)
        return StandInState(requests, *arrays)

    def features(self, state: StandInState) -> np.ndarray:
        return state.lost[:, None].astype(np.float32)

    def latent(self, state: StandInState) -> tuple[np.ndarray, np.ndarray]:
        return self._resized(state.previous_codes), self._resized(state.codes)

    def _resized(self, codes: np.ndarray) -> np.ndarray:
        """On the last grid, as its quantiser would (trilinear, of one layer)."""
        size = self.latent_shape[1:]
        return F.interpolate(torch.from_numpy(codes), size=size, mode="bilinear").numpy()

    def preview(self, state: StandInState, rows: Sequence[int] | None = None) -> np.ndarray:
        rows = range(len(state.requests)) if rows is None else rows
        y, x, blue_first = np.meshgrid(
            np.arange(IMAGE_SIDE), np.arange(IMAGE_SIDE), np.arange(3), indexing="ij"
        )
        images = []
        for row in rows:
            scale, seed = int(state.stage[row]) - 1, state.requests[row].seed
            value = 96 + 60 * np.sin(2 * np.pi * (x + scale) / 48) * np.cos(2 * np.pi * y / 64)
            value += 30 * np.sin(2 * np.pi * (x + 2 * y + seed % 50) / 17) + 10 * blue_first
            value += state.lost[row] * 8 * (((7 * x + 13 * y) % 11) / 11 - 0.45)
            images.append(np.clip(np.floor(value), 0, 255).astype(np.uint8)[..., ::-1])
        return np.stack(images)

    def finish(self, state: StandInState) -> np.ndarray:
        return self.preview(state, np.flatnonzero(state.done).tolist())


class MeanDifference:
    """The stand-in for a perceptual distance: mean absolute difference, values from 0 to 1."""

    higher_is_better = False
    minimum_side = 1

    def __init__(self, name: str):
        self.name = name

    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        assert references is not None
        return (images.double() - references.double()).abs().mean((1, 2, 3)) / 255


def scorers() -> list[Any]:
    """The figures that the three versions were recorded with; MS-SSIM is the real one."""
    from eval.metrics.ms_ssim import MsSsim

    return [MsSsim(), MeanDifference("lpips"), MeanDifference("dreamsim")]
