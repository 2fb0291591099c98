"""Drawing the bits of a stage for all groups, and the signs that they stand for.

Shapes: G requests of a group, L tokens of the stage, n tokens with logits, d bits per token;
d', (h', w') the tokenizer's bits and grid (d = 4 d' with patchify).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.bsq import Grid
from infinity_backend.groups import Group, GroupOutput
from infinity_backend.sampling import draw_sequential, keyed_uniform


def draw_keyed(
    requests: Sequence[Any],
    groups: Sequence[Group],
    outputs: Sequence[GroupOutput],
    probabilities: Sequence[Tensor],
    stage: int,
    tokens: int,
) -> list[Tensor]:
    """Bits [G, n, d] of each group, each from the uniform number of its own site.

    The numbers are drawn on the host, so that they are the same on every device, and sent at once.

    Args:
        requests: of the whole batch; their seeds key the noise.
        groups: which of them.
        outputs: say which tokens were kept.
        probabilities: that a bit is 1, [G, n, d] each.
        stage: its index.
        tokens: L.
    """
    seeds = [requests[member].seed for group in groups for member in group.members]
    device, bits = probabilities[0].device, probabilities[0].shape[-1]
    noise = keyed_uniform(seeds, stage, tokens * bits).to(device, non_blocking=True)
    noise_of_groups = noise.view(len(seeds), tokens, bits).split([len(g.members) for g in groups])
    drawn = []
    for output, of_group, p in zip(outputs, noise_of_groups, probabilities, strict=True):
        if output.kept is not None:
            of_group = of_group.take_along_dim(output.kept[..., None], dim=1)
        drawn.append(of_group < p)
    return drawn


def draw_from_stream(
    groups: Sequence[Group], probabilities: Sequence[Tensor], stream: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Bits of all groups from the single stream, in row order; and the stream afterwards."""
    generator = torch.Generator()
    generator.set_state(stream)
    by_member: dict[int, Tensor] = {}
    for group, probability in zip(groups, probabilities, strict=True):
        by_member.update(zip(group.members, probability, strict=True))
    order = sorted(by_member)
    flat = torch.cat([by_member[member].flatten() for member in order])  # rows may differ in n
    bits = draw_sequential(flat, generator).split([by_member[m].numel() for m in order])
    of_member = dict(zip(order, bits, strict=True))
    drawn = [
        torch.stack([of_member[member] for member in group.members]).view_as(probability)
        for group, probability in zip(groups, probabilities, strict=True)
    ]
    return drawn, generator.get_state()


def to_signs(output: GroupOutput, bits: Tensor, grid: Grid, patchify: bool) -> Tensor:
    """Bits [G, n, d] of tokens to int8 signs [G, h', w', d']: +1, -1, 0 where none was drawn."""
    height, width = grid
    signs = bits.to(torch.int8) * 2 - 1
    if output.kept is not None:
        empty = signs.new_zeros(len(signs), height * width, signs.shape[-1])
        signs = empty.scatter(1, output.kept[..., None].expand_as(signs), signs)
    signs = signs.unflatten(1, (height, width))
    if patchify:
        signs = F.pixel_shuffle(signs.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    return signs
