"""Training of the transformer: bitwise self-correction, an auxiliary layout loss, dropped text.

Shapes: B images, d bits per token, n tokens of all scales, C width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinity_backend.bsq import Grid
from infinity_backend.self_correction import training_pair
from infinity_backend.text import TextCondition
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE
from scenes.loop import StepLoss
from scenes.text_encoder import tokens_of
from scenes.train_vae import draw_batch
from scenes.world import COLOURS, FILLS, GROUNDS, PLACES, SHAPES, SIZES, Scene

_NONE = -100  # a target that does not count


@dataclass(frozen=True)
class TransformerLossConfig:
    """How the transformer learns.

    Attributes:
        flips: highest share of bits flipped in the inputs of each scale (self-correction).
        layout: weight of the auxiliary loss.
        prefix_scales, prefix_steps: the first steps train only the first few scales: they are
            cheap, and they decide what goes where.
    """

    flips: float = 0.2
    layout: float = 0.5
    prefix_scales: int = 5
    prefix_steps: int = 4000


def random_flips(strongest: float) -> Callable[[int, Tensor], Tensor]:
    """Flip bits [B, h, w, d]; each row and scale a share drawn between 0 and `strongest`."""

    def flip(scale: int, bits: Tensor) -> Tensor:
        share = strongest * torch.rand(len(bits), 1, 1, 1)
        return torch.rand(bits.shape) < share

    return flip


class LayoutHeads(nn.Module):
    """Each token says what is at its place; dropped after training."""

    def __init__(self, width: int):
        super().__init__()
        sizes = {
            "colour": len(COLOURS) + 1,
            "shape": len(SHAPES) + 1,
            "size": len(SIZES) + 1,
            "fill": len(FILLS) + 1,
            "ground": len(GROUNDS),
            "ground_colour": len(COLOURS),
        }
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in sizes.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """[B, n, C] to logits by attribute."""
        return {name: head(x) for name, head in self.heads.items()}


def layout_targets(scenes: Sequence[Scene], schedule: Sequence[Grid]) -> dict[str, Tensor]:
    """What is at the place of each token, by attribute [B, n]; the last class is 'nothing'.

    Tokens in the middle row or column of an odd grid have no place and do not count.
    """
    place_of = []
    for height, width in schedule:
        for row in range(height):
            for column in range(width):
                y, x = (2 * row + 1 > height), (2 * column + 1 > width)
                middle = 2 * row + 1 == height or 2 * column + 1 == width
                place_of.append(_NONE if middle else 2 * int(y) + int(x))
    places = np.asarray(place_of)
    words = {"colour": COLOURS, "shape": SHAPES, "size": SIZES, "fill": FILLS}
    targets: dict[str, Any] = {}
    for name, known in words.items():
        table = np.full((len(scenes), len(PLACES)), len(known))
        for row, scene in enumerate(scenes):
            for thing in scene.things:
                table[row, PLACES.index(thing.place)] = known.index(getattr(thing, name))
        targets[name] = np.where(places == _NONE, _NONE, table[:, np.maximum(places, 0)])
    for name, known in (("ground", GROUNDS), ("ground_colour", COLOURS)):
        values = np.asarray([known.index(getattr(scene, name)) for scene in scenes])
        targets[name] = np.repeat(values[:, None], len(places), 1)
    return {name: torch.from_numpy(values) for name, values in targets.items()}


@torch.no_grad()
def text_condition(captions: Sequence[str], encoder: Any, tokenizer: Any) -> TextCondition:
    """Read captions with the frozen text encoder."""
    ids, mask = tokens_of(captions, tokenizer)
    features = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return TextCondition(features, tuple(mask.sum(1).tolist()))


def tokens_in(inputs: Sequence[Tensor]) -> Tensor:
    """Inputs of scales 1 and up, each [B, d, h, w], one after another: [B, n - 1, d]."""
    return torch.cat([part.flatten(2).transpose(1, 2) for part in inputs], dim=1)


def bit_losses(logits: Tensor, targets: Sequence[Tensor]) -> list[Tensor]:
    """Cross-entropy in nats per bit, [B] for each scale. logits [B, n, 2d]."""
    counts = [part.shape[1] * part.shape[2] for part in targets]
    margins = (logits[..., 1::2] - logits[..., 0::2]).split(counts, dim=1)  # each [B, h w, d]
    return [
        F.binary_cross_entropy_with_logits(
            margin, target.flatten(1, 2).float(), reduction="none"
        ).mean((1, 2))
        for margin, target in zip(margins, targets, strict=True)
    ]


def transformer_loss(
    model: Infinity,
    layout: LayoutHeads,
    frozen: tuple[VAE, Any, Any],
    schedule: Sequence[Grid],
    batch: int,
    config: TransformerLossConfig,
) -> StepLoss:
    """The loss of one step; `frozen` holds the VAE, the text encoder and its tokenizer."""
    vae, encoder, tokenizer = frozen

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        part = list(schedule[: config.prefix_scales] if step < config.prefix_steps else schedule)
        weights = torch.tensor([float(height * width) ** 0.5 for height, width in part])
        scenes, images, _ = draw_batch(batch, rng)
        with torch.no_grad():
            pair = training_pair(vae.features(images), schedule, random_flips(config.flips))
        targets = pair.targets[: len(part)]
        inputs = tokens_in(pair.inputs[: len(part) - 1])
        text = text_condition([scene.caption for scene in scenes], encoder, tokenizer)
        dropped = torch.rand(batch) < model.config.cond_drop_rate
        text = text.dropped(model.cfg_uncond, dropped)
        logits, x = model(text, inputs, part, schedule[-1], return_features=True)
        losses = torch.stack([loss.mean() for loss in bit_losses(logits, targets)])
        wanted = layout_targets(scenes, part)
        said = layout(x[~dropped])
        kept = {name: value[~dropped].flatten() for name, value in wanted.items()}
        places = torch.stack(
            [
                F.cross_entropy(said[name].flatten(0, 1), kept[name], ignore_index=_NONE)
                for name in wanted
            ]
        )
        loss = (weights * losses).sum() / weights.sum() + config.layout * places.mean()
        figures = {f"s{i}": value for i, value in enumerate(losses.tolist())}
        return loss, {**figures, "layout": places.mean().item()}

    return loss_of
