"""From logits to bits: guidance, filtering, and noise that belongs to its site.

Shapes: B requests, n tokens, d bits per token; logits [..., n, 2d], entries 2b and 2b + 1 of bit b.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from infinity_backend.config import SamplingConfig


def mix(conditional: Tensor, unconditional: Tensor, cfg: float) -> Tensor:
    """Classifier-free guidance: away from the unconditional by the factor `cfg`."""
    return cfg * conditional + (1.0 - cfg) * unconditional


def bit_probability(logits: Tensor, sampling: SamplingConfig) -> Tensor:
    """Probability that each bit is 1 after top-k and top-p, [..., n, d]."""
    margin = logits[..., 1::2] - logits[..., 0::2]
    if sampling.top_k == 1:
        return torch.where(margin == 0, 0.5, (margin > 0).float())
    probability = torch.sigmoid(margin)
    if sampling.top_p > 0:
        smaller = torch.minimum(probability, 1.0 - probability)
        dropped = (smaller <= 1.0 - sampling.top_p) & (margin != 0)
        probability = torch.where(dropped, (margin > 0).float(), probability)
    return probability


def keyed_uniform(seeds: Sequence[int], stage: int, count: int) -> Tensor:
    """Uniform noise [len(seeds), count] in [0, 1), each number fixed by (seed, stage, position).

    It does not depend on the batch, on pruning, on guidance or on other stages, so that a
    pruned run and its reference meet the same noise at the same site.
    """
    rows = []
    for seed in seeds:
        digest = hashlib.blake2b(f"{seed}/{stage}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
        rows.append(torch.rand(count, generator=generator))
    return torch.stack(rows)


def draw_sequential(probability: Tensor, generator: torch.Generator | None) -> Tensor:
    """One draw per bit from a single stream, in the original's order (section 4.4).

    Two exponential draws per bit; the class with the larger p / q wins, the first on a tie.
    """
    noise = torch.empty(probability.numel(), 2).exponential_(generator=generator)
    q_zero, q_one = (part.view_as(probability).to(probability) for part in noise.unbind(1))
    return probability / q_one > (1.0 - probability) / q_zero
