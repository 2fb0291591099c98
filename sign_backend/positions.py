"""Where in time a frame is: the sinusoids that both families add to their embeddings."""

import logging
import math

import torch
from torch import Tensor, nn

from base.errors import CheckpointError

logger = logging.getLogger(__name__)
ROWS_IN_FILES = 1000
_ROUNDING = 5e-7
_ANOTHER_TABLE = 1e-2


def frequencies_of(width: int) -> Tensor:
    """[ceil(width / 2)] exp(-2j ln(10000) / width); processors differ in the last bit of some."""
    return torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))


def sinusoids(rows: int, width: int, frequencies: Tensor | None = None) -> Tensor:
    """Even columns 2j hold sin(row * frequency j), odd ones the cosine; see `frequencies_of`."""
    if frequencies is None:
        frequencies = frequencies_of(width)
    angles = torch.arange(rows).unsqueeze(1) * frequencies  # [rows, ceil(width / 2)]
    table = torch.zeros(rows, width)
    table[:, 0::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : width // 2]
    return table


class PositionTable(nn.Module):
    """The table as the checkpoints hold it, under `pe`; longer clips go on by the same formula.

    Args:
        width: D.
        shape: of the buffer, such as (1, 1000, D).
    """

    pe: Tensor

    def __init__(self, width: int, shape: tuple[int, ...]):
        super().__init__()
        self.width = width
        self.register_buffer("pe", sinusoids(ROWS_IN_FILES, width).reshape(shape))

    def rows(self, count: int) -> Tensor:
        """The first rows, [count, D]."""
        stored = self.pe.reshape(-1, self.width)
        if count <= len(stored):
            return stored[:count]
        more = sinusoids(count, self.width)[len(stored) :]
        return torch.cat([stored, more.to(stored)])

    def check(self, what: str) -> None:
        """Compare a table that was loaded with the formula.

        Processors differ in the last bits of an exponential, and a row multiplies that by its
        number; only what rounding cannot explain is refused.

        Raises:
            CheckpointError: it is another table.
        """
        stored = self.pe.reshape(-1, self.width).float().cpu()
        error = float((stored - sinusoids(len(stored), self.width)).abs().max())
        if not error <= _ANOTHER_TABLE:
            raise CheckpointError(
                f"{what}: its table of positions is off the sinusoids of the model by {error:.2g}; "
                "it is damaged, or of another model"
            )
        if error > _ROUNDING:
            logger.warning("%s: its table of positions is off by %.2g; used as it is", what, error)
