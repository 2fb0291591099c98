"""Training of a vector quantizer: straight-through codes that follow what falls to them.

A code is the running mean of the latents that chose it; one that is hardly used moves to a latent
of the batch at hand, so that all codes are used.

Shapes: B rows, N cells, K width of a code, V codes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fourm_backend.tokenizer import VQTokenizer
from scenes.loop import StepLoss


@dataclass(frozen=True)
class VQLossConfig:
    """Weights next to 1 for the squared error, and how codes move.

    Attributes:
        absolute: of the absolute error.
        gradient: of the error of neighbour differences along the last axis and the one before.
        commitment: pulls latents to their codes.
        decay: of the running means.
        unused: a code with less than this share of an even use moves.
    """

    absolute: float = 0.2
    gradient: float = 0.0
    commitment: float = 0.5
    decay: float = 0.98
    unused: float = 0.05


def vq_loss(
    tokenizer: VQTokenizer,
    draw: Callable[[np.random.Generator], tuple[Tensor, Tensor]],
    config: VQLossConfig = VQLossConfig(),
) -> StepLoss:
    """The loss of one step.

    Args:
        tokenizer: is trained; its codes move in place.
        draw: gives a batch of values, as the tokenizer takes them, and how much each counts.
        config: weights.
    """

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        values, weights = draw(rng)
        latent = tokenizer.latent(values)
        tokens = move_codes(tokenizer, latent.detach(), config)
        nearest = tokenizer.codes[tokens]
        rebuilt = tokenizer.rebuild(latent + (nearest - latent).detach())
        commitment = (latent - nearest).square().sum(-1).mean()
        loss, figures = error_loss(rebuilt, values, weights, config)
        used = float(tokens.unique().numel())
        return loss + config.commitment * commitment, {**figures, "codes": used}

    return loss_of


def decoder_loss(
    tokenizer: VQTokenizer,
    draw: Callable[[np.random.Generator], tuple[Tensor, Tensor]],
    config: VQLossConfig = VQLossConfig(),
) -> StepLoss:
    """The loss of one step of the decoder alone; the codes stay what they are."""

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        values, weights = draw(rng)
        with torch.no_grad():
            tokens = tokenizer.encode(values)
        return error_loss(tokenizer.decode(tokens), values, weights, config)

    return loss_of


def error_loss(
    rebuilt: Tensor, values: Tensor, weights: Tensor, config: VQLossConfig
) -> tuple[Tensor, dict[str, float]]:
    """Squared, absolute and gradient error, and the first two for the log."""
    error = rebuilt - values
    squared, absolute = (weights * error.square()).mean(), (weights * error.abs()).mean()
    loss = squared + config.absolute * absolute
    if config.gradient:
        steps = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        loss = loss + config.gradient * steps
    return loss, {"squared": squared.item(), "absolute": absolute.item()}


@torch.no_grad()
def move_codes(tokenizer: VQTokenizer, latent: Tensor, config: VQLossConfig) -> Tensor:
    """Tokens [B, N] of latents [B, N, K]; then the codes move towards what they stand for."""
    book = tokenizer.quantize.codebook
    flat = latent.flatten(0, 1)
    if not book.initted:
        book.embed.copy_(flat[torch.randint(len(flat), (len(book.embed),))])
        book.cluster_size.fill_(len(flat) / len(book.embed))
        book.initted.fill_(1.0)
    tokens = tokenizer.quantized(flat)
    chosen = F.one_hot(tokens, len(book.embed)).to(flat)  # [B * N, V]
    counts = chosen.sum(0)
    book.cluster_size.lerp_(counts, 1.0 - config.decay)
    means = chosen.T @ flat / counts.clamp(min=1.0)[:, None]
    weight = (1.0 - config.decay) * counts / book.cluster_size.clamp(min=1e-3)
    moved = torch.lerp(book.embed, means, weight.clamp(max=1.0)[:, None])
    idle = book.cluster_size < config.unused * len(flat) / len(book.embed)
    moved[idle] = flat[torch.randint(len(flat), (int(idle.sum()),))]
    book.cluster_size[idle] = len(flat) / len(book.embed)
    book.embed.copy_(F.normalize(moved, dim=-1))
    return tokens.view(latent.shape[:2])
