"""Small models and clips for the tests."""

from typing import Any

import numpy as np
import torch

from sign_backend.checkpoint import SignModel, build_model
from sign_backend.clip import Keypoints
from sign_backend.config import SignConfig


def tiny_config(**changes: Any) -> SignConfig:
    values: dict[str, Any] = {
        "model_name": "PoseFormer",
        "num_attention_layers": 2,
        "num_attention_heads": 2,
        "d_hidden": 8,
        "num_classes": (5,),
        "source_aspect_ratio": (0.5625,),
    }
    return SignConfig(**values | changes)


def tiny_model(seed: int = 0, **changes: Any) -> SignModel:
    """Random weights, none of them zero, so that each of them matters."""
    generator = torch.Generator().manual_seed(seed)
    model = build_model(tiny_config(**changes)).eval().requires_grad_(False)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(noise / max(parameter.shape[-1], 1) ** 0.5 + 0.1)
    return model


def tiny_clip(frames: int, seed: int = 0) -> Keypoints:
    """A person that sways, with the left hand missing now and then."""
    random = np.random.default_rng(seed)
    place = random.uniform(0.2, 0.8, (75, 3))
    points = place + 0.05 * np.sin(np.arange(frames) / 3)[:, None, None] * random.normal(
        size=place.shape
    )
    points[random.uniform(size=frames) < 0.2, 33:54] = np.nan
    return Keypoints(points, 360, 640)
