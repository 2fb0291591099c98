"""Errors of single pixels: PSNR and the plain differences that it comes from.

Differences of uint8 images are exact: sums are integers until the last division.
"""

from collections.abc import Callable

import torch

from base.errors import DataError
from eval.metrics.protocol import Similarity


def psnr(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB of each pair of uint8 [B, H, W, 3], peak 255.

    Returns:
        [B] float64; inf where the two are identical. Whoever averages must cap or count those.

    Raises:
        DataError: the shapes differ.
    """
    return 10 * torch.log10(255.0**2 / mean_squared_error(images, references))


def mean_squared_error(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """[B] float64: the mean squared difference over all pixels and channels."""
    differences = _differences(images, references)
    return differences.square().sum(dim=1).double() / differences.shape[1]  # a sum in int64


def mean_absolute_error(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """[B] float64: the mean absolute difference over all pixels and channels."""
    differences = _differences(images, references)
    return differences.abs().sum(dim=1).double() / differences.shape[1]  # a sum in int64


def largest_error(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """[B] float64: the largest difference of a pixel in a channel, from 0 to 255."""
    return _differences(images, references).abs().amax(dim=1).double()


def psnr_metrics() -> list[Similarity]:
    """PSNR as it is (undefined for identical pairs), and in two capped forms for averages."""
    text = "10 log10(255^2 / mean squared error) in dB over all pixels and channels"
    once = _OncePerBatch(psnr)
    return [
        Similarity("psnr", once, True, f"{text}; not defined for identical images"),
        Similarity("psnr_capped50", _capped(once, 50.0), True, f"{text}; at most 50 dB an image"),
        Similarity(
            "psnr_capped100", _capped(once, 100.0), True, f"{text}; at most 100 dB an image"
        ),
    ]


_Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class _OncePerBatch:
    """A function that remembers what it said of the last batch: three metrics ask the same."""

    def __init__(self, function: _Function) -> None:
        self._function = function
        self._batch: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
        if self._batch is None or self._batch[0] is not images or self._batch[1] is not references:
            self._values, self._batch = self._function(images, references), (images, references)
        return self._values


def _capped(function: _Function, cap_db: float) -> _Function:
    return lambda images, references: function(images, references).clamp(max=cap_db)


def _differences(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    if images.shape != references.shape:
        raise DataError(f"images are {tuple(images.shape)}, references {tuple(references.shape)}")
    return (images.to(torch.int32) - references.to(torch.int32)).flatten(1)  # [B, H W 3]
