"""What a policy may look at: a small vector per row, cheap beside one stage of the model.

Shapes: B rows, d bits per latent cell, (H, W) the last grid, C width of the pooled text.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from infinity_backend.bsq import Grid, resize, resize_area
from infinity_backend.state import GenerationState

TEXT_COLUMNS = 128  # at most; a wider pooled text is projected
STATISTICS = (
    "codes_size",  # root of the mean square of the summed codes, times the root of d
    "codes_change",  # mean square of what the last stage added, times d
    "codes_detail",  # share of the energy that a grid of half the size cannot hold
    "codes_contrast",  # standard deviation over the picture of a cell's size
    "bit_entropy",  # mean entropy of a bit at the last stage that ran, in bits
    "bit_doubt",  # twice the mean probability of the less likely value
    "guidance",  # 1 while the guidance branch runs
)


def feature_names(bits: int, width: int) -> tuple[str, ...]:
    """One name a column; `mean_<bit>` is the mean of the summed codes over the picture.

    Args:
        bits: d.
        width: C.
    """
    means = (f"mean_{index}" for index in range(bits))
    return (*STATISTICS, *means, *(f"text_{index}" for index in range(min(width, TEXT_COLUMNS))))


def text_projection(width: int) -> Tensor:
    """What the pooled text is multiplied by, [C, at most TEXT_COLUMNS], the same everywhere.

    A narrow text is taken whole; of a wide one, fixed random sums.
    """
    if width <= TEXT_COLUMNS:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(20260101)
    return torch.randn(width, TEXT_COLUMNS, generator=generator) / width**0.5


@torch.no_grad()
def state_features(state: GenerationState, projection: Tensor) -> np.ndarray:
    """[B, F] float32, columns as `feature_names`."""
    codes = state.codes
    grid = (codes.shape[2], codes.shape[3])
    rows_through_half, columns_through_half = _through_half(grid, codes.device)
    cell_energy = codes.square().sum(1).flatten(1)  # [B, H * W]
    energy, cell_size = cell_energy.mean(1), cell_energy.sqrt()
    change = (codes - state.previous_codes).square().sum(1).mean((1, 2))
    coarse = rows_through_half @ codes @ columns_through_half
    detail = (codes - coarse).square().sum(1).mean((1, 2)) / energy.clamp(min=1e-6)
    contrast = cell_size.std(1) if cell_size.shape[1] > 1 else torch.zeros_like(energy)
    rows = state.rows
    scalars = torch.tensor(
        [[row.entropy_bits, 2 * (1 - row.certainty), float(row.branches == 2)] for row in rows]
    ).to(energy, non_blocking=True)
    pooled = torch.stack([row.text.chunk.pooled[0, row.text.index] for row in rows]).float()
    pooled = pooled / pooled.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)
    statistics = torch.stack([energy.sqrt(), change, detail, contrast], dim=1)
    text = pooled @ projection.to(pooled)
    columns = torch.cat([statistics, scalars, codes.mean((2, 3)), text], dim=1)
    return columns.cpu().numpy().astype(np.float32)


@lru_cache(maxsize=16)
def _through_half(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor]:
    """[H, H] and [W, W]: x -> rows @ x @ columns goes to a grid of half the size and back.

    Averaging and linear resizing are linear, along each axis alone, so both are two small products.
    """
    kept = []
    for side in grid:
        unit = torch.eye(side).view(1, 1, side, side)
        half = resize_area(unit, (max(1, side // 2), side))
        kept.append(resize(half, (side, side))[0, 0])
    return kept[0].to(device), kept[1].T.contiguous().to(device)
