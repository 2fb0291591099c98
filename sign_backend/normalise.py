"""Keypoints to features, inside the current models: the signer's size and place are taken out.

T frames, B clips. Frames are independent of each other.
"""

import torch
from torch import Tensor

from sign_backend.clip import LEFT_HAND, RIGHT_HAND

LEFT_SHOULDER, RIGHT_SHOULDER = 11, 12
WRIST_TO_KNUCKLE = 9  # from the first row of a hand to the root of its middle finger
_KEPT = (*range(25), *range(33, 75))  # without the legs


def normalise(points: Tensor) -> Tensor:
    """Shoulders' middle to the origin and shoulders one apart; then each hand about its wrist.

    Distances are in three dimensions. Nothing keeps them from being zero: 0 / 0 is NaN, and more
    is infinite, as in the original (`without_nan` follows).

    Args:
        points: [..., 75, 3].
    """
    left, right = points[..., LEFT_SHOULDER, :], points[..., RIGHT_SHOULDER, :]
    center = (left + right) / 2
    points = (points - center[..., None, :]) / _distance(left, right)
    hands = []
    for hand in (points[..., LEFT_HAND, :], points[..., RIGHT_HAND, :]):
        wrist = hand[..., :1, :]
        hands.append((hand - wrist) / _distance(wrist[..., 0, :], hand[..., WRIST_TO_KNUCKLE, :]))
    return torch.cat([points[..., : LEFT_HAND.start, :], *hands], dim=-2)


def to_features(points: Tensor) -> Tensor:
    """Normalised points [..., 75, 3] to x and y of 67 joints, [..., 134], joint by joint."""
    return points[..., _KEPT, :2].flatten(-2)


def without_nan(features: Tensor) -> Tensor:
    """NaN to 0, infinite to the largest or lowest number."""
    return torch.nan_to_num(features)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Length of the difference, [..., 1, 1], to divide points by."""
    return torch.linalg.vector_norm(one - other, dim=-1)[..., None, None]
