"""Bitwise self-correction: training inputs that already hold some wrong bits (Infinity, 3.4).

Shapes: B images, d bits per latent cell, (h, w) the grid of a scale, (H, W) the last grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infinity_backend.bsq import Grid, codes_to_grid, resize, resize_area, to_bits

Flip = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class TrainingPair:
    """Inputs and targets of one batch, per scale.

    Attributes:
        inputs: for scales 1 and up, the resized sum of codes [B, d, h, w].
        targets: for all scales, the bits to predict [B, h, w, d] bool. They are computed after
            earlier flips, so they already correct them.
    """

    inputs: list[Tensor]
    targets: list[Tensor]


def training_pair(
    features: Tensor, schedule: Sequence[Grid], flip: Flip | None = None, requantize: bool = True
) -> TrainingPair:
    """Quantise features scale by scale, with some bits flipped in what later scales see.

    Args:
        features: [B, d, H, W] before quantisation.
        schedule: the tokenizer's grids.
        flip: given (scale index, bits [B, h, w, d]), a bool mask of the bits to flip, or all False.
        requantize: whether flips change the inputs; without it they change nothing.
    """
    features, total = features.float(), torch.zeros_like(features, dtype=torch.float32)
    inputs, targets = [], []
    for index, grid in enumerate(schedule):
        bits = to_bits(resize_area(features - total, grid))
        targets.append(bits)
        if flip is not None:
            flipped = bits ^ flip(index, bits)
            bits = flipped if requantize else bits
        total = total + codes_to_grid(bits, schedule[-1])
        if index + 1 < len(schedule):
            inputs.append(resize(total, schedule[index + 1]))
    return TrainingPair(inputs, targets)
