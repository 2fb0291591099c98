"""Moving kept tokens out of a stage and their updates back (which are kept: `selection.py`).

Shapes: R rows, L tokens of the stage, n kept ones, C width.
"""

from torch import Tensor

from infinity_backend.bsq import Grid, resize_area


def gather(x: Tensor, indices: Tensor) -> Tensor:
    """The chosen tokens of x [R, L, ...] -> [R, n, ...]."""
    return x.take_along_dim(indices.view(*indices.shape, *[1] * (x.dim() - 2)), dim=1)


def scatter(base: Tensor, indices: Tensor, update: Tensor) -> Tensor:
    """A copy of base [R, L, C] with update [R, n, C] written at indices [R, n]."""
    return base.scatter(1, indices[..., None].expand_as(update), update)


def resize_tokens(update: Tensor, grid: Grid, target: Grid) -> Tensor:
    """Tokens [R, L, C] of one grid, averaged onto another [R, L', C]."""
    image = update.transpose(1, 2).unflatten(2, grid)
    return resize_area(image, target).flatten(2).transpose(1, 2)
