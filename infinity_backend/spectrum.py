"""Radial spectra of codes and pictures: which frequencies a scale has put in place.

Shapes: B images, C channels, (h, w) any grid, (H, W) the last grid of the tokenizer, d bits.
"""

import torch
from torch import Tensor

from infinity_backend.bsq import Grid, resize
from infinity_backend.vae import VAE


def radial_spectrum(x: Tensor) -> Tensor:
    """Logarithmic amplitude by radius, relative to the mean.

    The logarithm of the amplitudes (at least 1e-6) is averaged over batch and channels, then over
    rings of equal whole radius around the zero frequency.

    Args:
        x: [B, C, h, w].

    Returns:
        [m // 2 + 1] float32, m being the largest whole radius; the first entry is 0.
    """
    height, width = x.shape[-2:]
    amplitude = torch.fft.fft2(x.float()).abs().clamp(min=1e-6).log()
    centred = amplitude.roll((height // 2, width // 2), dims=(-2, -1)).mean((0, 1))  # [h, w]
    rows = torch.arange(height, device=x.device)[:, None] - height // 2
    columns = torch.arange(width, device=x.device)[None] - width // 2
    radius = (rows.square() + columns.square()).float().sqrt().long()  # [h, w]
    bins = int(radius.max()) + 1
    total = torch.zeros(bins, device=x.device).index_add(0, radius.flatten(), centred.flatten())
    count = torch.bincount(radius.flatten(), minlength=bins)
    profile = (total / (count + 1e-8))[: (bins - 1) // 2 + 1]
    return profile - profile[0]


@torch.no_grad()
def pixel_spectrum(vae: VAE, codes: Tensor, grid: Grid) -> Tensor:
    """The spectrum of the picture that the codes [B, d, h, w], resized to `grid`, decode to."""
    image = (vae.decode(resize(codes, grid)).float() + 1.0) / 2.0
    return radial_spectrum(image.mean(1, keepdim=True))


def latent_spectrum(codes: Tensor) -> Tensor:
    """The spectrum of codes [B, d, h, w] at their own grid."""
    return radial_spectrum(codes)
