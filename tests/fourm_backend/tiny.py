"""Modalities and samples for small random models."""

import torch
from torch import Tensor

from fourm_backend.modalities import Modality
from fourm_backend.samples import full_input
from fourm_backend.toy import CAPTION

PIXELS = Modality("rgb@16", "img", "image_pixels", 0, (16, 16), 4, channels=3, decodable=False)
VECTORS = Modality(
    "t5_caption", "seq_emb", "sequence_embeddings", max_length=6, channels=8, decodable=False
)


def caption(*ids: int) -> dict[str, Tensor]:
    """A caption that is given whole."""
    return full_input(CAPTION, {"tensor": torch.tensor([[*ids, 3]])})


def pixels(seed: int = 0) -> dict[str, Tensor]:
    """A random picture."""
    picture = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return full_input(PIXELS, {"tensor": picture})
