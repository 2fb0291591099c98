"""How much detail a picture has, and how much it changed: what SkipVAR decides by.

Source: SkipVAR (2025). Shapes: B images [B, 3, h, w] in [-1, 1].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.bsq import Grid, resize
from infinity_backend.state import GenerationState
from infinity_backend.vae import VAE

FEATURE_GRID = (8, 8)  # codes are looked at on the grid of the fifth scale
CUTOFF = 0.4


def edge_difference(new: Tensor, old: Tensor) -> Tensor:
    """Mean absolute difference of the Sobel magnitudes of two pictures, [B]."""
    return (_edges(new) - _edges(old)).abs().mean((1, 2, 3))


def high_frequency_share(image: Tensor, cutoff: float = CUTOFF) -> Tensor:
    """Share of the amplitude that lies outside a circle around the zero frequency, [B].

    The circle's radius is floor(cutoff * half of the shorter side).
    """
    height, width = image.shape[-2:]
    amplitude = torch.fft.fft2(_grey(image)[:, 0]).abs()  # [B, h, w]
    amplitude = amplitude.roll((height // 2, width // 2), dims=(-2, -1))
    rows = torch.arange(height, device=image.device)[:, None] - height // 2
    columns = torch.arange(width, device=image.device)[None] - width // 2
    radius = int(cutoff * min(height, width) / 2)
    outside = rows.square() + columns.square() > radius**2
    return (amplitude * outside).sum((1, 2)) / (amplitude.sum((1, 2)) + 1e-6)


@torch.no_grad()
def detail_features(vae: VAE, state: GenerationState, grid: Grid = FEATURE_GRID) -> Tensor:
    """[B, 2]: edge difference over the last scale, and high-frequency share after it.

    Costs two decodes of `grid` for each row.
    """
    new = vae.decode(resize(state.codes, grid)).float()
    old = vae.decode(resize(state.previous_codes, grid)).float()
    return torch.stack([edge_difference(new, old), high_frequency_share(new)], dim=1)


def _grey(image: Tensor) -> Tensor:
    return image.float().mean(1, keepdim=True)


def _edges(image: Tensor) -> Tensor:
    """Sobel magnitude of the grey picture, zero outside of it [B, 1, h, w]."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([across, across.T])[:, None].to(image.device)  # [2, 1, 3, 3]
    return F.conv2d(_grey(image), kernels, padding=1).square().sum(1, keepdim=True).sqrt()
