"""Tokens of unequal rows side by side, so that linear layers see them all at once.

One group of equal rows stays [R, n, ...]; several groups become [1, N, ...], group after group.
No padding is ever computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """The layout: (rows R, tokens n) of each group."""

    shapes: tuple[tuple[int, int], ...]

    def pack(self, parts: Sequence[Tensor]) -> Tensor:
        """Per-group tensors [R, n, ...] to one tensor."""
        if len(parts) == 1:
            return parts[0]
        return torch.cat([part.flatten(0, 1) for part in parts])[None]

    def unpack(self, x: Tensor) -> list[Tensor]:
        """The reverse of `pack`: views, no copies."""
        if len(self.shapes) == 1:
            return [x]
        pieces = x[0].split([rows * tokens for rows, tokens in self.shapes])
        return [piece.unflatten(0, shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def spread(self, parts: Sequence[Tensor]) -> Tensor:
        """Per-row vectors, [R, ...] per group, to one that broadcasts against packed tokens."""
        if len(parts) == 1:
            return parts[0][:, None]
        spread = [
            part.repeat_interleave(tokens, dim=0)
            for part, (_, tokens) in zip(parts, self.shapes, strict=True)
        ]
        return torch.cat(spread)[None]
