"""Small clips with made-up keypoints, and a small model, for tests of the generator."""

import numpy as np
import torch

from sign_backend.clip import LEFT_HAND, Keypoints
from sign_backend.config import SignConfig
from sign_backend.poseformer import PoseFormer
from sign_backend.request import SignClip, SignRequest


def small_model() -> PoseFormer:
    torch.manual_seed(0)
    config = SignConfig("PoseFormer", 1, 2, 16, (5,), source_aspect_ratio=(0.75,))
    return PoseFormer(config).eval().requires_grad_(False)


def made_up_request(index: int, frames: int, seed: int = 0) -> SignRequest:
    """A body that sways, a right hand that is always there, a left one that comes and goes."""
    lot = np.random.default_rng(index)
    base = lot.uniform(0.2, 0.8, (75, 3))
    base[11], base[12] = (0.65, 0.4, 0.0), (0.35, 0.4, 0.0)
    sway = np.cumsum(lot.normal(0, 0.02, (frames, 75, 3)), axis=0)
    points = base + sway
    points[frames // 2 : frames // 2 + 3, LEFT_HAND] = np.nan
    moved = np.abs(lot.normal(0, 0.02, (frames, 2))).astype(np.float32)
    clip = SignClip(f"clip {index}", f"made up {index}", moved, 48, 64, Keypoints(points, 48, 64))
    return SignRequest(clip, seed)
