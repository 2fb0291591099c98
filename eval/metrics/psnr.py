"""Peak signal-to-noise ratio of uint8 images, from the exact integer squared error."""

import torch

from base.errors import DataError


def psnr(images: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """PSNR of each pair in dB against a peak of 255, over all pixels and channels.

    Args:
        images: [B, H, W, 3] uint8.
        references: [B, H, W, 3] uint8.

    Returns:
        [B] float64; inf where the two are identical. Whoever averages must cap or count those.

    Raises:
        DataError: the shapes differ.
    """
    if images.shape != references.shape:
        raise DataError(f"images are {tuple(images.shape)}, references {tuple(references.shape)}")
    difference = images.to(torch.int32) - references.to(torch.int32)
    squared = difference.square().flatten(1).sum(dim=1)  # [B] int64, exact
    mean_squared_error = squared.double() / max(1, difference[0].numel() if len(images) else 1)
    return 10 * torch.log10(255.0**2 / mean_squared_error)
