"""From logits to tokens: filters, temperature, and noise.

Glossary of shapes: B rows, n positions, V vocabulary.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from base.errors import ConfigError

GREEDY_BELOW = 1e-10


def filter_logits(logits: Tensor, top_k: int | float = 0.0, top_p: float = 0.0) -> Tensor:
    """Set what is filtered out to minus infinity; the temperature comes afterwards.

    Args:
        logits: [..., V].
        top_k: keep so many (a whole number), or this share of the vocabulary (a float); 0 all.
        top_p: keep the most likely until their sum exceeds it; 0 all.

    Raises:
        ConfigError: a number outside of its range.
    """
    if top_k < 0 or not 0.0 <= top_p <= 1.0:
        raise ConfigError(
            f"top_k is {top_k} and top_p {top_p}; expected top_k from 0 and top_p from 0 to 1"
        )
    vocabulary = logits.shape[-1]
    if top_k > 0:
        count = top_k if isinstance(top_k, int) else int(top_k * vocabulary)
        count = min(max(count, 1), vocabulary)
        lowest = logits.topk(count, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, -torch.inf)
    if top_p > 0:
        ordered, order = logits.sort(dim=-1, descending=True)
        beyond = F.softmax(ordered, dim=-1).cumsum(-1) > top_p
        beyond = torch.cat([torch.zeros_like(beyond[..., :1]), beyond[..., :-1]], dim=-1)
        removed = torch.zeros_like(beyond).scatter(-1, order, beyond)
        logits = logits.masked_fill(removed, -torch.inf)
    return logits


def probabilities(
    logits: Tensor, temperature: float, top_k: int | float = 0.0, top_p: float = 0.0
) -> Tensor | None:
    """[..., V] what to draw from; None where the temperature is 0."""
    if abs(temperature) < GREEDY_BELOW:
        return None
    return F.softmax(filter_logits(logits, top_k, top_p) / temperature, dim=-1)


def draw(
    logits: Tensor, chances: Tensor | None, exponential: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Draw one token a position.

    Args:
        logits: [..., V], of which the largest is taken where there are no chances.
        chances: from `probabilities`.
        exponential: noise of the same shape.

    Returns:
        Tokens [...] and the chance that each of them had.
    """
    if chances is None or exponential is None:
        tokens = logits.argmax(-1)
        return tokens, torch.ones_like(tokens, dtype=logits.dtype)
    tokens = (chances / exponential).argmax(-1)
    return tokens, chances.gather(-1, tokens[..., None])[..., 0]


def lead(logits: Tensor, chances: Tensor | None, exponential: Tensor | None) -> Tensor:
    """[...] by how much the token that `draw` takes wins: ln of its score over the second best.

    Under the same noise, a token with a large lead is drawn again though the logits have moved a
    little; where it is near 0, the next look may see another one. Arguments as in `draw`.
    """
    if chances is None or exponential is None:
        best = logits.topk(2).values
    else:
        best = (chances / exponential).topk(2).values.log()
    return best[..., 0] - best[..., 1]


class Noise(Protocol):
    """Where randomness comes from, step by step."""

    def begin_step(self, step: int) -> None:
        """Called before each step of a schedule."""

    def order(self, domain: str, rows: int, count: int) -> Tensor:
        """[rows, count] in [0, 1): positions are decoded in the order of these numbers."""

    def exponential(self, domain: str, positions: Tensor, vocabulary: int) -> Tensor:
        """[B, n, V] noise for these positions [B, n]."""


class SequentialNoise:
    """One stream, begun anew at each step with the seed plus the step's number, as published.

    Args:
        seed: None begins at a random place.
        same_every_step: the published multi-guided sampler does not count.
    """

    def __init__(self, seed: int | None, same_every_step: bool = False):
        self.generator = torch.Generator()
        self.seed = self.generator.seed() % 2**63 if seed is None else seed
        self.same_every_step = same_every_step

    def begin_step(self, step: int) -> None:
        self.generator.manual_seed(self.seed + (0 if self.same_every_step else step))

    def order(self, domain: str, rows: int, count: int) -> Tensor:
        return torch.rand(count, generator=self.generator).expand(rows, -1)

    def exponential(self, domain: str, positions: Tensor, vocabulary: int) -> Tensor:
        noise = torch.empty(positions.numel(), vocabulary)
        return noise.exponential_(generator=self.generator).view(*positions.shape, vocabulary)


class SiteNoise:
    """Noise that belongs to its site: (seed, modality, position), whatever else is decided.

    Args:
        seeds: one a row.
    """

    def __init__(self, seeds: Sequence[int]):
        self.seeds = seeds

    def begin_step(self, step: int) -> None:
        """Nothing: a site's noise does not depend on when it is asked for."""

    def order(self, domain: str, rows: int, count: int) -> Tensor:
        return torch.stack(
            [torch.rand(count, generator=_keyed(f"{seed}/order/{domain}")) for seed in self.seeds]
        )

    def exponential(self, domain: str, positions: Tensor, vocabulary: int) -> Tensor:
        rows = [
            torch.stack(
                [
                    torch.empty(vocabulary).exponential_(
                        generator=_keyed(f"{seed}/{domain}/{position}")
                    )
                    for position in row
                ]
            )
            for seed, row in zip(self.seeds, positions.tolist(), strict=True)
        ]
        return torch.stack(rows)


def _keyed(key: str) -> torch.Generator:
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def generate_seed(*parts: object, legacy: bool = False) -> int:
    """A seed from a base seed, the number of a sample and that of a variation.

    Args:
        parts: what it depends on.
        legacy: join the parts as published, where (0, 1, 23) and (0, 12, 3) are the same.
    """
    text = ("" if legacy else "/").join(map(str, parts))
    return int(hashlib.sha256(text.encode("utf-8")).hexdigest(), 16) % 2**32
