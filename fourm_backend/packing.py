"""From a sample to the encoder's input: visible tokens of all modalities, side by side.

Glossary of shapes: B rows, L tokens of a modality, N packed tokens, D width.
Masks are True where something is not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from base.errors import DataError
from fourm_backend.model import FourM

Sample = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Packed:
    """Tokens in a row.

    Attributes:
        content: [B, N, D], zeros where ignored.
        places: [B, N, D], zeros where ignored.
        ignored: [B, 1, N] bool.
        tags: [B, N] int64 id of the modality, -1 where ignored.
    """

    content: Tensor
    places: Tensor
    ignored: Tensor
    tags: Tensor


def embed(model: FourM, name: str, entry: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Content and places of one modality, [B, L, D] each.

    `content` in the entry, where it is given, saves computing it: what does not change from step
    to step (pixels, vectors) is projected once.
    """
    module = model.input(name)
    content = entry["content"] if "content" in entry else module.content(entry["tensor"])
    return content, module.places(entry["input_mask"])


def pack_inputs(model: FourM, sample: Sample, limit: int | None = None) -> Packed:
    """Pack what the encoder sees.

    Args:
        model: the model.
        sample: modalities in the order in which they are packed.
        limit: keep at most so many tokens; None keeps the visible ones of the fullest row.

    Raises:
        DataError: the sample is empty, or a modality has no mask.
    """
    rows, device = _rows(sample), model.mask_token.device
    contents, places, masks, tags = [], [], [], []
    for name, entry in sample.items():
        if name not in model.encoder_embeddings:
            continue
        mask = entry["input_mask"]
        if limit is None and bool(mask.all()):
            continue  # nothing of it is visible in any row
        content, place = embed(model, name, entry)
        contents.append(content)
        places.append(place)
        masks.append(mask)
        tags.append(torch.full_like(mask, model.config.inputs[name].id, dtype=torch.int64))
    if not contents:
        empty = model.mask_token[:, :0].expand(rows, -1, -1)
        none = torch.zeros(rows, 0, dtype=torch.int64, device=device)
        return Packed(empty, empty, none[:, None].bool(), none)
    mask = torch.cat(masks, dim=1)
    if limit is None:
        limit = int((~mask).sum(1).max())
    return pack(torch.cat(contents, 1), torch.cat(places, 1), mask, torch.cat(tags, 1), limit)


def keep_order(mask: Tensor, limit: int) -> Tensor:
    """[B, min(L, limit)]: used tokens first, each group in its order."""
    return mask.to(torch.uint8).argsort(dim=1, stable=True)[:, :limit]


def take(tensor: Tensor, order: Tensor) -> Tensor:
    """Entries of [B, L, ...] in the order [B, N]."""
    index = order if tensor.dim() == 2 else order[..., None].expand(-1, -1, tensor.shape[2])
    return tensor.gather(1, index)


def pack(content: Tensor, places: Tensor, mask: Tensor, tags: Tensor, limit: int) -> Packed:
    """Keep `limit` tokens, used ones first; the rest of a row becomes zeros."""
    order = keep_order(mask, limit)
    ignored = take(mask, order)
    return Packed(
        take(content, order).masked_fill(ignored[..., None], 0.0),
        take(places, order).masked_fill(ignored[..., None], 0.0),
        ignored[:, None],
        take(tags, order).masked_fill(ignored, -1),
    )


def pack_side_by_side(packed: Sequence[Packed]) -> Packed:
    """The rows of all of them, padded to the longest."""
    if len(packed) == 1:
        return packed[0]
    longest = max(each.content.shape[1] for each in packed)
    columns = []
    for name, fill in (("content", 0.0), ("places", 0.0), ("ignored", True), ("tags", -1)):
        axis = 1 if name in ("content", "places") else -1  # where tokens are counted
        parts = []
        for each in packed:
            tensor = getattr(each, name)
            lacking = longest - tensor.shape[axis]
            widths = (0, 0, 0, lacking) if axis == 1 else (0, lacking)
            parts.append(F.pad(tensor, widths, value=fill))
        columns.append(torch.cat(parts))
    return Packed(*columns)


def _rows(sample: Sample) -> int:
    for name, entry in sample.items():
        if "tensor" not in entry or "input_mask" not in entry:
            raise DataError(f"modality {name!r} of the sample needs 'tensor' and 'input_mask'")
    if not sample:
        raise DataError("the sample has no modality")
    return len(next(iter(sample.values()))["input_mask"])
