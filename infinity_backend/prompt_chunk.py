"""What the prompts give to every stage, computed once per image.

Shapes: G requests, b branches, R = b * G rows, T text tokens, D_t text channels, C width, H heads,
c head width.
"""

import torch
import torch.nn.functional as F

from infinity_backend.state import TextChunk
from infinity_backend.text import TextCondition
from infinity_backend.transformer import Infinity


def text_chunk(model: Infinity, branches: list[TextCondition]) -> TextChunk:
    """Pooled text, modulations, and the keys and values of all blocks.

    Args:
        model: the transformer.
        branches: the prompts, and with guidance the unconditional (or negative) rows.
    """
    device = model.pos_start.device
    longest = max(branch.features.shape[1] for branch in branches)
    padded = [
        F.pad(branch.features.to(device), (0, 0, 0, longest - branch.features.shape[1]))
        for branch in branches
    ]
    lengths = tuple(length for branch in branches for length in branch.lengths)
    rows = TextCondition(torch.cat(padded), lengths)  # [R, T, D_t]
    pooled, shared, tokens = model.condition(rows)
    shape = (len(branches), len(branches[0].lengths))
    keys, values = [], []
    for block in model.block_list():
        k, v = block.ca.keys_values(tokens.to(block.ca.proj.weight.dtype))  # [R, T, H, c]
        keys.append(k.transpose(1, 2).contiguous().unflatten(0, shape))
        values.append(v.transpose(1, 2).contiguous().unflatten(0, shape))
    head = pooled.new_zeros(*shape, 0)
    if model.head_nm is not None:
        head = model.head_nm.modulation(pooled).unflatten(0, shape)
    return TextChunk(
        lengths=tuple(branch.lengths for branch in branches),
        mask=rows.mask.unflatten(0, shape),
        pooled=pooled.unflatten(0, shape),
        shared=shared.unflatten(0, shape),
        head=head,
        keys=tuple(keys),
        values=tuple(values),
    )
