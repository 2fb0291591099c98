"""Two-dimensional rotary position embedding, with grid coordinates scaled to one common grid.

Shapes: n tokens, H heads, c head width. A table is complex [n, c/2]: cos + i sin of each pair.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.bsq import Grid

BASE = 10000.0
_TABLE_SIDE = 128  # side of the integer grid that mode 1 resizes


def _angles(rows: Tensor, columns: Tensor, head_dim: int) -> Tensor:
    """Angles [h, w, c/2] for row coordinates [h] and column coordinates [w]."""
    exponents = torch.arange(0, head_dim // 2, 2, dtype=torch.float32) / (head_dim // 2)
    frequencies = 1.0 / BASE**exponents  # [c/4]
    height, width = len(rows), len(columns)
    by_row = torch.outer(rows, frequencies)[:, None].expand(height, width, -1)
    by_column = torch.outer(columns, frequencies)[None].expand(height, width, -1)
    return torch.cat([by_row, by_column], dim=-1)


@lru_cache(maxsize=256)
def rope_table(grid: Grid, rope_grid: Grid, head_dim: int, mode: int) -> Tensor:
    """The rotations of one scale, complex64 [h * w, c/2].

    Args:
        grid: (h, w) of the scale, in transformer tokens.
        rope_grid: (Hf, Wf), the last grid of the 1M schedule of the same aspect ratio.
        head_dim: c, a multiple of 4.
        mode: 2 scales coordinates to `rope_grid` and rounds half to even (official); 0 takes them
            as they are; 1 resizes the cosines and sines of a 128 x 128 grid, so that pairs leave
            the unit circle.
    """
    height, width = grid
    last_height, last_width = rope_grid
    if mode == 1:
        return _resized_table(grid, rope_grid, head_dim)
    rows = torch.arange(height, dtype=torch.float32)
    columns = torch.arange(width, dtype=torch.float32)
    if mode == 2:
        rows = (rows * (last_height / height)).round()
        columns = (columns * (last_width / width)).round()
    angles = _angles(rows, columns, head_dim).flatten(0, 1)
    return torch.complex(angles.cos(), angles.sin())


@lru_cache(maxsize=64)
def rope_on(device: torch.device, grid: Grid, rope_grid: Grid, head_dim: int, mode: int) -> Tensor:
    """The same on a device, moved there once."""
    return rope_table(grid, rope_grid, head_dim, mode).to(device)


def _resized_table(grid: Grid, rope_grid: Grid, head_dim: int) -> Tensor:
    last_height, last_width = rope_grid
    side = torch.arange(_TABLE_SIDE, dtype=torch.float32)
    if last_height >= last_width:
        crop = (_TABLE_SIDE, int(_TABLE_SIDE / last_height * last_width))
    else:
        crop = (int(_TABLE_SIDE / last_width * last_height), _TABLE_SIDE)
    angles = _angles(side[: crop[0]], side[: crop[1]], head_dim).permute(2, 0, 1)[None]
    cos, sin = (
        F.interpolate(table, size=grid, mode="bilinear", align_corners=True)[0].flatten(1).T
        for table in (angles.cos(), angles.sin())
    )
    return torch.complex(cos.contiguous(), sin.contiguous())


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotate interleaved pairs of x [..., n, H, c] by table [..., n, c/2]; in float32."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table.unsqueeze(-2)).flatten(-2).to(x.dtype)
