"""Training of a small 4M on tokens: some are given, a part of the target is visible, some is asked.

What is given and what is made is one task a step, for the whole batch, so that only texts are
padded; which tokens of the target are visible is drawn for each row.

Shapes: B rows, L tokens of a modality, N visible tokens, M asked ones, D width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fourm_backend.model import FourM
from fourm_backend.samples import FIRST_SENTINEL, PAD
from scenes.loop import StepLoss


@dataclass(frozen=True)
class TokenTask:
    """What is given and what is made.

    Attributes:
        given, target: modalities.
        weight: how often it is drawn, next to the others.
    """

    given: tuple[str, ...]
    target: str
    weight: float = 1.0


@dataclass(frozen=True)
class TokenLossConfig:
    """How samples are cut up.

    Attributes:
        dropped: share of steps in which nothing is given, for guidance; of a text [S_1] is left.
        asked: how many tokens are asked at most.
        early: the share of visible tokens is uniform to this power: more than 1 shows few of them
            more often.
    """

    dropped: float = 0.1
    asked: int = 96
    early: float = 1.0


@dataclass(frozen=True)
class Reading:
    """What the model made of a batch, for losses besides that of the tokens.

    Attributes:
        given: what was given; empty where it was dropped.
        target: what was made.
        encoded: [B, N, D] of the encoder, what was given first.
        asked: [B, M] places in the target.
        output: [B, M, D] of the decoder.
    """

    given: tuple[str, ...]
    target: str
    encoded: Tensor
    asked: Tensor
    output: Tensor


Auxiliary = Callable[[Mapping[str, Tensor], Reading], Tensor]


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
    auxiliary: Auxiliary | None = None,
) -> StepLoss:
    """The loss of one step.

    Args:
        model: is trained.
        tasks: one of them is drawn.
        draw: gives tokens [B, L] of each modality.
        config: how samples are cut up.
        auxiliary: a further loss, of what `draw` gave and what the model made of it.
    """
    weights = np.array([task.weight for task in tasks]) / sum(task.weight for task in tasks)

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        task = tasks[rng.choice(len(tasks), p=weights)]
        given = () if rng.random() < config.dropped else task.given
        tokens = draw(rng)
        length = tokens[task.target].shape[1]
        share = int(rng.integers(0, length)) / length
        visible = round(length * share**config.early)
        order = torch.rand(tokens[task.target].shape).argsort(dim=1)
        asked = order[:, visible : visible + config.asked]
        parts = [whole(model, name, tokens[name]) for name in given]
        for name in set(task.given) - set(given):
            parts += emptied_text(model, name, len(asked))
        parts.append(some(model, task.target, tokens[task.target], order[:, :visible]))
        columns = zip(*parts, strict=True)
        content, places, hidden = (torch.cat(each, dim=1) for each in columns)
        ignored = hidden[:, None] if bool(hidden.any()) else None
        encoded = content  # where nothing at all is visible
        if content.shape[1]:
            encoded, _ = model.encode(content + places, ignored)
        context = model.context_keys(model.context(encoded, places))
        decoder = model.target(task.target)
        queries = model.mask_token + decoder.fixed_places(1)[0][asked]
        output, _ = model.decode(queries, context, ignored)
        logits = decoder.to_logits(output)
        wanted = tokens[task.target].gather(1, asked)
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        right = (logits.detach().argmax(-1) == wanted).float().mean()
        name = f"{'+'.join(given) or 'nothing'}>{task.target}"
        figures = {name: loss.item(), f"{name} right": right.item()}
        if auxiliary is not None:
            further = auxiliary(tokens, Reading(given, task.target, encoded, asked, output))
            figures["auxiliary"] = further.item()
            loss = loss + further
        return loss, figures

    return loss_of


Part = tuple[Tensor, Tensor, Tensor]  # content and places [B, L, D], and [B, L] what is padding


def whole(model: FourM, name: str, tokens: Tensor) -> Part:
    """A modality that is given; ids [B, L], a text padded with [PAD]."""
    module = model.input(name)
    hidden = tokens == PAD if module.modality.kind == "sequence" else tokens < 0
    return module.content(tokens), module.places(hidden), hidden


def emptied_text(model: FourM, name: str, rows: int) -> list[Part]:
    """What guidance sees of a condition that is left out: of a text [S_1], of others nothing."""
    if model.input(name).modality.kind != "sequence":
        return []
    return [whole(model, name, torch.full((rows, 1), FIRST_SENTINEL))]


def some(model: FourM, name: str, tokens: Tensor, chosen: Tensor) -> Part:
    """The tokens at the places `chosen` [B, N]."""
    content, places, hidden = whole(model, name, tokens)
    index = chosen[..., None].expand(-1, -1, content.shape[2])
    return content.gather(1, index), places.gather(1, index), hidden.gather(1, chosen)
