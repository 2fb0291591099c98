"""Binary spherical quantisation over a pyramid of grids (SPEC: Infinity paper, sections 3.1, 3.2).

A latent vector becomes d bits; a bit is a coordinate of +-1/sqrt(d), so a code has length 1.
The codes of all scales are resized to the last grid and summed.

Shapes: B images, d bits per cell, (h, w) the grid of a scale, (H, W) the last grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def resize(x: Tensor, grid: Grid) -> Tensor:
    """Linear resize of [B, d, h, w] to `grid`; used between scales by generation and training."""
    if tuple(x.shape[-2:]) == tuple(grid):
        return x
    return F.interpolate(x, size=grid, mode="bilinear", align_corners=False)


def resize_area(x: Tensor, grid: Grid) -> Tensor:
    """Average every cell of `grid` over the input cells that it covers. [B, d, h, w]."""
    if tuple(x.shape[-2:]) == tuple(grid):
        return x
    return F.interpolate(x, size=grid, mode="area")


def bits_to_codes(bits: Tensor) -> Tensor:
    """Bits [..., d] in {0, 1} to unit vectors [..., d]."""
    return (2.0 * bits.to(torch.float32) - 1.0) / bits.shape[-1] ** 0.5


def to_bits(features: Tensor) -> Tensor:
    """Latent features [B, d, h, w] to bits [B, h, w, d] (bool); exactly zero gives 0."""
    return features.permute(0, 2, 3, 1) > 0


def codes_to_grid(bits: Tensor, grid: Grid) -> Tensor:
    """Codes of bits [B, h, w, d], resized to `grid`: [B, d, H, W]."""
    return resize(bits_to_codes(bits).permute(0, 3, 1, 2), grid)


@dataclass(frozen=True)
class Quantized:
    """What `quantize` gives.

    Attributes:
        codes: [B, d, H, W] sum over the scales.
        bits: per scale [B, h, w, d] bool.
        inputs: per scale but the last, the area-resized sum that predicts the next one
            [B, d, h', w'] (the encoder's own version; the transformer uses `resize`).
        residual_share: per scale, the share of entries with |r| < 0.05 / sqrt(d).
    """

    codes: Tensor
    bits: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    residual_share: tuple[float, ...]


def quantize(features: Tensor, schedule: Sequence[Grid]) -> Quantized:
    """Quantise latent features [B, d, H, W] scale by scale, each the residual of those before."""
    grid = schedule[-1]
    features = features.float()
    residual, total = features, torch.zeros_like(features)
    bits, inputs, shares = [], [], []
    threshold = 0.05 / features.shape[1] ** 0.5
    for index, scale in enumerate(schedule):
        part = resize_area(residual, scale)
        shares.append(float((part.abs() < threshold).float().mean()))
        bits.append(to_bits(part))
        code = codes_to_grid(bits[-1], grid)
        residual, total = residual - code, total + code
        if index + 1 < len(schedule):
            inputs.append(resize_area(total, schedule[index + 1]))
    return Quantized(total, tuple(bits), tuple(inputs), tuple(shares))


def sum_codes(bits: Sequence[Tensor], grid: Grid) -> Tensor:
    """Sum of the codes of all scales on the last grid. bits: per scale [B, h, w, d]."""
    return torch.stack([codes_to_grid(part, grid) for part in bits]).sum(0)
