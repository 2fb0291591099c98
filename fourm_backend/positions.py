"""Fixed tables of positions, from sines and cosines of geometrically spaced frequencies."""

from collections.abc import Sequence

import torch
from torch import Tensor

from base.errors import ConfigError

BASE = 10_000.0


def positions_1d(count: int, dim: int) -> Tensor:
    """[1, count, dim]: sines, then cosines."""
    places = torch.arange(count, dtype=torch.float32)
    return _sines_cosines(places, dim)[None]


def positions_2d(height: int, width: int, dim: int) -> Tensor:
    """[1, height * width, dim]: the horizontal place in the first half, the vertical in the other.

    Rows are listed column by column, as in the published models, although tokens are listed row
    by row: for a square grid the table is transposed, and trained that way.
    """
    across, down = torch.meshgrid(
        torch.arange(width, dtype=torch.float32),
        torch.arange(height, dtype=torch.float32),
        indexing="ij",
    )
    halves = [_sines_cosines(places.flatten(), dim // 2) for places in (across, down)]
    return torch.cat(halves, dim=1)[None]


def positions_3d(frames: int, height: int, width: int, dim: int) -> Tensor:
    """[1, frames * height * width, dim]: a third of the columns an axis, sines and cosines in turn.

    Raises:
        ConfigError: `dim` is not a multiple of 6.
    """
    if dim % 6:
        raise ConfigError(f"a 3D table of positions needs a width divisible by 6; it is {dim}")
    part = dim // 3
    axes = torch.meshgrid(
        *(torch.arange(count, dtype=torch.float32) for count in (frames, height, width)),
        indexing="ij",
    )
    frequencies = 1.0 / BASE ** (torch.arange(0, part, 2, dtype=torch.float32) / part)
    columns = []
    for places in axes:
        angles = places.flatten()[:, None] * frequencies
        columns.append(torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1))
    return torch.cat(columns, dim=1)[None]


def position_table(grid: Sequence[int], dim: int) -> Tensor:
    """The table of a grid with one, two or three axes."""
    if len(grid) == 1:
        return positions_1d(grid[0], dim)
    if len(grid) == 2:
        return positions_2d(grid[0], grid[1], dim)
    return positions_3d(grid[0], grid[1], grid[2], dim)


def _sines_cosines(places: Tensor, dim: int) -> Tensor:
    half = dim // 2
    frequencies = 1.0 / BASE ** (torch.arange(half, dtype=torch.float32) / half)
    angles = places[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
