"""The twenty gestures: five shapes of the hand times four movements of the wrist.

Lengths are in shoulder widths, the origin is the middle of the shoulders, x points to the side of
the hand that signs, y down.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HandShape:
    """How far each finger is stretched (0 folded, 1 straight) and how far they are spread."""

    name: str
    thumb: float
    fingers: tuple[float, float, float, float]  # index to little finger
    spread: float


SHAPES = (
    HandShape("open", 1.0, (1, 1, 1, 1), 1.3),
    HandShape("point", 0.0, (1, 0, 0, 0), 0.3),
    HandShape("fork", 0.0, (1, 1, 0, 0), 1.8),
    HandShape("horns", 1.0, (1, 0, 0, 1), 1.0),
    HandShape("flat", 0.0, (1, 1, 1, 1), 0.3),
)
MOVEMENTS = ("wave", "nod", "circle", "sweep")
RELAXED = HandShape("relaxed", 0.6, (0.85, 0.85, 0.85, 0.85), 0.6)

GESTURES = tuple(f"{shape.name} {movement}" for shape in SHAPES for movement in MOVEMENTS)


def shape_of(gesture: int) -> HandShape:
    """The shape of the hand in this gesture, 0 to 19."""
    return SHAPES[gesture // len(MOVEMENTS)]


def movement_of(gesture: int) -> str:
    """The movement of the wrist in this gesture, 0 to 19."""
    return MOVEMENTS[gesture % len(MOVEMENTS)]


def uses_both_hands(gesture: int) -> bool:
    """Whether the other hand makes the mirrored movement; otherwise it rests."""
    return movement_of(gesture) in ("circle", "sweep")


def wrist_path(movement: str, progress: np.ndarray, size: float) -> np.ndarray:
    """[n, 2]: where the wrist is.

    Args:
        movement: one of `MOVEMENTS`.
        progress: [n], 0 at the start of the movement, 1 at its end.
        size: 1 is the usual amplitude.
    """
    turn = 2 * np.pi * progress
    centre = np.array([1.02, 0.18])
    if movement == "wave":
        offset = np.stack([0.38 * np.sin(2 * turn), 0.04 * np.sin(4 * turn)], axis=1)
    elif movement == "nod":
        offset = np.stack([0.04 * np.sin(4 * turn), 0.36 * np.sin(2 * turn)], axis=1)
    elif movement == "circle":
        offset = 0.34 * np.stack([np.cos(1.5 * turn), np.sin(1.5 * turn)], axis=1)
    else:
        offset = np.stack([0.45 - 0.9 * progress, 0.42 * np.cos(turn / 2)], axis=1)
    return centre + size * offset
