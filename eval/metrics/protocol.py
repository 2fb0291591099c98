"""What a metric is: anything that gives one number to each image of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from base.errors import DataError


class MetricUnavailableError(DataError):
    """A metric that cannot be computed here (a package or weights are missing); says which."""


class Metric(Protocol):
    """One figure of an image.

    Attributes:
        name: the name of its column. Another definition or other weights are another name.
        higher_is_better: the direction in which images improve.
        needs_reference: whether it compares with the Original image.
        needs_prompt: whether it reads the prompt.
        minimum_side: the smallest image that it accepts, in pixels.
        provenance: its exact definition and weights, in words.
    """

    name: str
    higher_is_better: bool
    needs_reference: bool
    needs_prompt: bool
    minimum_side: int
    provenance: str

    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """Measure a batch.

        Args:
            images: [B, H, W, 3] uint8 RGB, on the device of the run.
            references: [B, H, W, 3] uint8, in the same order; None if it needs no reference.
            prompts: B texts.

        Returns:
            [B] floats. A value that is not finite is reported as not computed.
        """


@dataclass
class Similarity:
    """A metric that is a plain function of two batches [B, H, W, 3] uint8."""

    name: str
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    higher_is_better: bool
    provenance: str
    minimum_side: int = 1
    needs_reference: bool = True
    needs_prompt: bool = False

    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """Compare each image with its reference."""
        assert references is not None
        return self.function(images, references)
