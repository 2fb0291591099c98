"""Training of the BSQ-VAE on scenes: whole first, then the decoder alone with the codes frozen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.bsq import Grid, bits_to_codes, quantize, resize
from infinity_backend.vae import VAE
from scenes.loop import StepLoss
from scenes.render import object_mask, render
from scenes.world import Scene, draw_scenes


@dataclass(frozen=True)
class VAELossConfig:
    """Weights of the terms, next to 1 for the squared error.

    Attributes:
        absolute, gradient: of the absolute error, and of the error of neighbour differences.
        objects: extra weight of pixels inside objects.
        commitment: pulls features to their codes; too little and they run away.
        truncated: share of examples that are decoded without their last one to four scales.
    """

    absolute: float = 0.2
    gradient: float = 0.15
    objects: float = 3.0
    commitment: float = 1.0
    truncated: float = 0.25


def batch_of(scenes: Sequence[Scene], seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Render scenes: images [B, 3, 64, 64] in [-1, 1], object masks [B, 1, 64, 64] in [0, 1]."""
    pairs = list(zip(scenes, seeds, strict=True))
    images = np.stack([render(scene, seed) for scene, seed in pairs])
    masks = np.stack([object_mask(scene, seed) for scene, seed in pairs])
    return (
        torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1.0,
        torch.from_numpy(masks)[:, None],
    )


def draw_batch(count: int, rng: np.random.Generator) -> tuple[list[Scene], Tensor, Tensor]:
    """Draw training scenes by lot and render them under random seeds."""
    scenes = draw_scenes("train", count, rng)
    images, masks = batch_of(scenes, rng.integers(2**31, size=count).tolist())
    return scenes, images, masks


def picture_loss(picture: Tensor, image: Tensor, mask: Tensor, config: VAELossConfig) -> Tensor:
    """Squared, absolute and gradient error, objects weighted. All [B, ., 64, 64]."""
    weight = 1.0 + config.objects * mask
    error = picture - image
    squared = (weight * error.square()).mean()
    absolute = (weight * error.abs()).mean()
    gradient = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return squared + config.absolute * absolute + config.gradient * gradient


def kept_scales(count: int, num_scales: int, share: float, rng: np.random.Generator) -> Tensor:
    """How many scales each example is decoded from: all, or one to four less for a `share`."""
    less = rng.integers(1, 5, size=count) * (rng.random(count) < share)
    return torch.from_numpy(np.maximum(1, num_scales - less))


def partial_codes(bits: Sequence[Tensor], kept: Tensor) -> Tensor:
    """Sum of the codes of the first `kept[b]` scales of each row: [B, d, H, W]."""
    grid = bits[-1].shape[1:3]
    total = torch.zeros(())
    for index, part in enumerate(bits):
        code = resize(bits_to_codes(part).permute(0, 3, 1, 2), (grid[0], grid[1]))
        total = total + code * (kept > index).view(-1, 1, 1, 1)
    return total


def vae_loss(
    vae: VAE, schedule: Sequence[Grid], batch: int, config: VAELossConfig = VAELossConfig()
) -> StepLoss:
    """The loss of one step of the whole VAE: straight-through signs, random truncation."""

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        _, images, masks = draw_batch(batch, rng)
        features = vae.features(images)
        quantized = quantize(features.detach(), schedule)
        kept = kept_scales(batch, len(schedule), config.truncated, rng)
        codes = partial_codes(quantized.bits, kept)
        picture = vae.decoder(features + (codes - features).detach())
        commitment = F.mse_loss(features, quantized.codes)
        loss = picture_loss(picture, images, masks, config) + config.commitment * commitment
        psnr = psnr_of_whole(picture, images, kept, len(schedule))
        return loss, {"psnr": psnr, "commitment": commitment.item()}

    return loss_of


def psnr_of_whole(picture: Tensor, image: Tensor, kept: Tensor, num_scales: int) -> float:
    """Mean PSNR (dB) of the examples that were decoded from all scales."""
    whole = kept == num_scales
    squared = ((picture - image)[whole] / 2).detach().square().mean((1, 2, 3))
    return float(-10 * squared.clamp_min(1e-8).log10().mean()) if len(squared) else 0.0


def decoder_loss(
    vae: VAE, schedule: Sequence[Grid], batch: int, config: VAELossConfig = VAELossConfig()
) -> StepLoss:
    """The loss of one step of the decoder alone; the codes stay what they are."""

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        _, images, masks = draw_batch(batch, rng)
        with torch.no_grad():
            bits = vae.encode(images, list(schedule))[1].bits
        kept = kept_scales(batch, len(schedule), config.truncated, rng)
        picture = vae.decoder(partial_codes(bits, kept))
        loss = picture_loss(picture, images, masks, config)
        return loss, {"psnr": psnr_of_whole(picture, images, kept, len(schedule))}

    return loss_of
