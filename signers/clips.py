"""Clips by lot: who signs what, how fast, with which pauses, and what gets in the way.

A clip is a pure function of its split and number. Signers of different splits have nothing in
common but the portrait: size, place, colours, proportions, habits are drawn anew.

The PoseFormer learns from the split `generator`, policies from `train`: what missing frames
do to clips that the PoseFormer was taught on need not be what they do to others.
"""

import zlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from signers.gestures import GESTURES, movement_of, uses_both_hands, wrist_path

Split: TypeAlias = Literal["generator", "train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("generator", "train", "validation", "test")
CLIPS_PER_SIGNER = 10
MOST_FRAMES = 56


@dataclass(frozen=True)
class Signer:
    """What stays the same over the clips of one person. Lengths in pixels or shoulder widths."""

    scale: float  # of the portrait
    centre_px: float  # x of the middle of the shoulders
    top_px: float  # y of the top of the portrait
    hand_length: float
    arm_lengths: tuple[float, float]
    skin: tuple[int, int, int]
    sleeve: tuple[int, int, int]
    ground: tuple[int, int, int]
    rest: tuple[float, float]  # the wrist at rest, often below the lower edge
    left_handed: bool
    size: float  # of the movements


@dataclass(frozen=True)
class Clip:
    """One recording: T frames of one gesture.

    Attributes:
        wrists: [T, 2 hands, 2] in shoulder widths, x pointing outwards; hand 0 leads.
        shaping: [T, 2 hands] how far each hand has taken its shape, 0 relaxed to 1.
        tilt: [T, 2 hands] radians that each hand leans outwards.
        veil: [T, 4] left, top, right, bottom of what hides a hand, in shoulder widths, or NaN.
    """

    name: str
    gesture: int
    signer: Signer
    wrists: np.ndarray
    shaping: np.ndarray
    tilt: np.ndarray
    veil: np.ndarray


def make_clip(split: Split, number: int) -> Clip:
    """Clip `number` of a split."""
    signer = _signer(
        np.random.default_rng((zlib.crc32(split.encode()), number // CLIPS_PER_SIGNER))
    )
    lot = np.random.default_rng((zlib.crc32(split.encode()), 1, number))
    gesture = int(lot.integers(len(GESTURES)))
    phases = _phases(lot)
    frames = sum(length for _, length in phases)
    active = _path(lot, signer, gesture, phases)  # [T, 2]
    rest = np.array(signer.rest) + 0.02 * lot.standard_normal(2)
    idle = rest + 0.03 * np.sin(np.arange(frames) / 9 + lot.uniform(0, 6))[:, None] * [0.5, 1]
    both = uses_both_hands(gesture)
    raised = np.clip((rest[1] - active[:, 1]) / 0.5, 0, 1)
    wrists = np.stack([active, active if both else idle], axis=1)
    tremble = 0.006 * lot.standard_normal(wrists.shape)
    tilt = 0.1 * lot.standard_normal() + np.zeros(wrists.shape[:2])
    return Clip(
        name=f"{split}_{number:05d}",
        gesture=gesture,
        signer=signer,
        wrists=wrists + tremble,
        shaping=np.stack([raised, raised if both else np.zeros(frames)], axis=1),
        tilt=tilt,
        veil=_veil(lot, wrists[:, 0]),
    )


def _signer(lot: np.random.Generator) -> Signer:
    skins = ((222, 178, 150), (205, 158, 128), (232, 190, 165), (190, 142, 112))
    sleeves = ((205, 95, 40), (190, 80, 35), (60, 70, 110), (90, 90, 95), (150, 60, 60))
    low = lot.random() < 0.5
    return Signer(
        scale=lot.uniform(0.36, 0.43),
        centre_px=lot.uniform(145, 175),
        top_px=lot.uniform(2, 14),
        hand_length=lot.uniform(0.43, 0.51),
        arm_lengths=(lot.uniform(0.88, 1.0), lot.uniform(0.72, 0.84)),
        skin=skins[lot.integers(len(skins))],
        sleeve=sleeves[lot.integers(len(sleeves))],
        ground=tuple(lot.integers(80, 190, 3).tolist()),
        rest=(lot.uniform(0.45, 0.75), lot.uniform(1.65, 1.9) if low else lot.uniform(1.0, 1.15)),
        left_handed=bool(lot.random() < 0.3),
        size=lot.uniform(0.85, 1.15),
    )


def _phases(lot: np.random.Generator) -> list[tuple[str, int]]:
    """Names and lengths in frames, 40 to 56 together; a fast signer rests and holds for longer."""
    stroke = int(lot.integers(10, 25))
    raising, lowering = (int(n) for n in lot.integers(3, 7, 2))
    spare = max(int(lot.integers(40, MOST_FRAMES + 1)) - stroke - raising - lowering, 6)
    shares = lot.dirichlet((1.2, 1.2, 1.2, 0.6))
    before, hold, after, pause = (int(share * spare) for share in shares)
    before += spare - before - hold - after - pause
    first = stroke // 2
    return [
        ("rest", before),
        ("raise", raising),
        ("stroke", first),
        ("hold", pause),  # a hesitation in the middle of the movement
        ("stroke", stroke - first),
        ("hold", hold),
        ("lower", lowering),
        ("rest", after),
    ]


def _path(
    lot: np.random.Generator, signer: Signer, gesture: int, phases: list[tuple[str, int]]
) -> np.ndarray:
    """[T, 2]: the wrist of the hand that leads."""
    size = signer.size * lot.uniform(0.9, 1.1)
    shift = lot.normal(0, 0.06, 2)
    strokes = sum(length for name, length in phases if name == "stroke")
    # the speed within a stroke varies: progress is a smooth, growing curve
    bend = lot.uniform(-0.6, 0.6)
    steps = np.linspace(0, 1, strokes)
    progress = steps + bend * steps * (1 - steps)
    stroke = wrist_path(movement_of(gesture), progress, size) + shift
    rest, done, parts = np.array(signer.rest), 0, []
    for name, length in phases:
        smooth = (1 - np.cos(np.pi * (np.arange(length) + 1) / (length + 1)))[:, None] / 2
        if name == "rest":
            parts.append(np.repeat(rest[None], length, 0))
        elif name == "raise":
            parts.append(rest + smooth * (stroke[0] - rest))
        elif name == "stroke":
            parts.append(stroke[done : done + length])
            done += length
        elif name == "hold":
            parts.append(np.repeat(stroke[done - 1][None], length, 0))
        else:
            parts.append(stroke[-1] + smooth * (rest - stroke[-1]))
    return np.concatenate(parts)


def _veil(lot: np.random.Generator, wrist: np.ndarray) -> np.ndarray:
    """[T, 4]: in one of three clips something passes in front of the hand that leads."""
    veil = np.full((len(wrist), 4), np.nan)
    if lot.random() < 1 / 3:
        length = int(lot.integers(4, 10))
        start = int(lot.integers(0, len(wrist) - length))
        where = wrist[start + length // 2] + [0.0, -0.3]
        slide = np.linspace(-0.8, 0.8, length)[:, None] * [1.0, 0.0, 1.0, 0.0]
        veil[start : start + length] = np.r_[where - 0.45, where + 0.45] + slide
    return veil
