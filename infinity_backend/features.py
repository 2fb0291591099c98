"""What a policy may look at: a small vector per row, cheap beside one stage of the model.

Shapes: B rows, d bits per latent cell, (H, W) the last grid, C width of the pooled text.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from base.one_thread import one_thread
from infinity_backend.bsq import Grid, resize, resize_area
from infinity_backend.state import GenerationState, TextChunk, gather_rows, shared_runs

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
@one_thread()
def state_features(state: GenerationState, projection: Tensor) -> np.ndarray:
    """[B, F] float32, columns as `feature_names`.

    In few operations: they are small, and after a stage of the model each one begins cold.
    """
    codes, rows = state.codes.flatten(2), state.rows  # [B, d, H * W]
    to_half, from_half = _half(tuple(state.codes.shape[2:]), codes.device)
    cells = codes.shape[2]
    cell_size = codes.square().sum(1).sqrt()  # [B, H * W]
    pooled = gather_rows(shared_runs([row.text for row in rows], codes.device), _pooled, 1)[0]
    sizes = [
        vector_norm(codes, dim=(1, 2)),
        vector_norm(codes - state.previous_codes.flatten(2), dim=(1, 2)),
        vector_norm(codes - codes @ to_half @ from_half, dim=(1, 2)),
        cell_size.std(1) if cells > 1 else torch.zeros_like(cell_size[:, 0]),
        vector_norm(pooled, dim=1),
    ]
    means, text = codes.mean(2), pooled.to(projection) @ projection
    found = torch.cat([torch.stack(sizes, dim=1), means, text], dim=1).float().cpu().numpy()
    size, change, detail, contrast, text_size = found[:, : len(sizes)].T
    bits = means.shape[1]
    columns = np.empty((len(rows), len(STATISTICS) + bits + text.shape[1]), np.float32)
    columns[:, 0] = size / cells**0.5
    columns[:, 1] = change**2 / cells
    columns[:, 2] = detail**2 / np.maximum(size**2, 1e-6 * cells)
    columns[:, 3] = contrast
    columns[:, 4:7] = [(r.entropy_bits, 2 - 2 * r.certainty, r.branches == 2) for r in rows]
    columns[:, 7 : 7 + bits] = found[:, len(sizes) : len(sizes) + bits]
    text_scale = pooled.shape[1] ** 0.5 / np.maximum(text_size, 1e-6)
    columns[:, 7 + bits :] = found[:, len(sizes) + bits :] * text_scale[:, None]
    return columns


def _pooled(chunk: TextChunk) -> Tensor:
    return chunk.pooled


@lru_cache(maxsize=16)
def _half(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor]:
    """[H * W, h * w] to a grid of half the size, and [h * w, H * W] back: both are linear."""
    height, width = grid
    half = (max(1, height // 2), max(1, width // 2))
    cells = torch.eye(height * width).view(-1, 1, height, width)
    half_cells = torch.eye(half[0] * half[1]).view(-1, 1, *half)
    to_half, from_half = resize_area(cells, half), resize(half_cells, grid)
    return to_half.flatten(1).to(device), from_half.flatten(1).to(device)
