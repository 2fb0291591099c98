"""The words that describe one run of a generator, shared by backends and by the environment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step of a generator.

    Attributes:
        name: what people call it; for Infinity the grid, as in `8x8`.
        tokens: how many positions it computes when nothing is pruned.
        cost_flops: its cost when neither it nor any stage before it was pruned (multiply-add = 2).
    """

    name: str
    tokens: int
    cost_flops: float
