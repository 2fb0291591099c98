"""Small random models with registered modalities, and samples for them."""

import torch
from torch import Tensor

from fourm_backend.config import Architecture, ModelConfig
from fourm_backend.modalities import Modality
from fourm_backend.model import FourM
from fourm_backend.samples import full_input

CAPTION = Modality("caption", "seq", "sequence", 260, max_length=12, max_tokens=12)
PIXELS = Modality("rgb@16", "img", "image_pixels", 0, (16, 16), 4, channels=3, decodable=False)
CLIP = Modality("tok_clip@16", "img", "image_tokens", 24, (16, 16), 4)
RGB = Modality("tok_rgb@16", "img", "image_tokens", 32, (16, 16), 4)
VIDEO = Modality("tok_rgb", "img", "video_tokens", 20, (16, 16), 8)
GAZE = Modality("tok_gaze", "gaze", "motion_tokens", 12, max_length=30, max_tokens=30)
VECTORS = Modality(
    "t5_caption", "seq_emb", "sequence_embeddings", max_length=6, channels=8, decodable=False
)


def tiny_model(*modalities: Modality, **architecture: object) -> FourM:
    """A random model that is sure enough of itself for guidance and conditions to matter."""
    settings = Architecture(
        **{"dim": 24, "encoder_depth": 2, "decoder_depth": 2, "num_heads": 3, **architecture}  # type: ignore[arg-type]
    )
    entries = {entry.name: entry for entry in modalities}
    outputs = {name: entry for name, entry in entries.items() if entry.decodable}
    torch.manual_seed(5)
    model = FourM(ModelConfig(settings, entries, outputs))
    for name, parameter in model.named_parameters():
        if "emb" in name or "to_logits" in name or "mask_token" in name:
            torch.nn.init.normal_(parameter, std=0.2 if "to_logits" in name else 1.0)
    return model.eval().requires_grad_(False)


def caption(*ids: int) -> dict[str, Tensor]:
    """A caption that is given whole."""
    return full_input(CAPTION, {"tensor": torch.tensor([[*ids, 3]])})


def pixels(seed: int = 0) -> dict[str, Tensor]:
    """A random picture."""
    picture = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return full_input(PIXELS, {"tensor": picture})
