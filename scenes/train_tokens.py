"""Training of a small 4M on tokens: some are given, a part of the target is visible, some is asked.

What is given and what is made is one task a step, for the whole batch, so that nothing is padded;
which tokens of the target are visible is drawn for each row.

Shapes: B rows, L tokens of a modality, N visible tokens, M asked ones, D width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fourm_backend.model import FourM
from scenes.loop import StepLoss


@dataclass(frozen=True)
class TokenTask:
    """What is given and what is made; `weight` says how often."""

    given: tuple[str, ...]
    target: str
    weight: float = 1.0


@dataclass(frozen=True)
class TokenLossConfig:
    """How samples are cut up.

    Attributes:
        dropped: share of steps in which nothing is given, for guidance.
        asked: how many tokens are asked at most.
    """

    dropped: float = 0.1
    asked: int = 96


def start_small(model: FourM) -> None:
    """Small token tables: they are heads as well, whose first logits would be huge."""
    for name, parameter in model.named_parameters():
        if name.endswith("token_emb.weight"):
            torch.nn.init.normal_(parameter, std=0.02)


def token_loss(
    model: FourM,
    tasks: Sequence[TokenTask],
    draw: Callable[[np.random.Generator], Mapping[str, Tensor]],
    config: TokenLossConfig = TokenLossConfig(),
) -> StepLoss:
    """The loss of one step.

    Args:
        model: is trained.
        tasks: one of them is drawn.
        draw: gives tokens [B, L] of each modality.
        config: how samples are cut up.
    """
    weights = np.array([task.weight for task in tasks]) / sum(task.weight for task in tasks)

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        task = tasks[rng.choice(len(tasks), p=weights)]
        given = () if rng.random() < config.dropped else task.given
        tokens = draw(rng)
        length = tokens[task.target].shape[1]
        visible = int(rng.integers(0, length))
        order = torch.rand(tokens[task.target].shape).argsort(dim=1)
        asked = order[:, visible : visible + config.asked]
        parts = [whole(model, name, tokens[name]) for name in given]
        parts.append(some(model, task.target, tokens[task.target], order[:, :visible]))
        content, places = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
        encoded = content  # where nothing at all is visible
        if content.shape[1]:
            encoded, _ = model.encode(content + places, None)
        context = model.context_keys(model.context(encoded, places))
        decoder = model.target(task.target)
        queries = model.mask_token + decoder.fixed_places(1)[0][asked]
        output, _ = model.decode(queries, context)
        logits = decoder.to_logits(output)
        wanted = tokens[task.target].gather(1, asked)
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        right = (logits.detach().argmax(-1) == wanted).float().mean()
        name = f"{'+'.join(given) or 'nothing'}>{task.target}"
        return loss, {name: loss.item(), f"{name} right": right.item()}

    return loss_of


def whole(model: FourM, name: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Content and places [B, L, D] of a modality that is given."""
    module = model.input(name)
    return module.content(tokens), module.fixed_places(len(tokens))


def some(model: FourM, name: str, tokens: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The same of the tokens at the places `chosen` [B, N]."""
    content, places = whole(model, name, tokens)
    index = chosen[..., None].expand(-1, -1, content.shape[2])
    return content.gather(1, index), places.gather(1, index)
