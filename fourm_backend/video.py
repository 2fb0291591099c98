"""Clips of 16 frames as the video tokenizers take them, pictures or depth.

The first slot of five holds the first frame alone (four times), every other slot four frames; the
last frame comes twice, so that 16 frames fill five slots.

Shapes: F = 16 frames, H x W pixels, C channels.
"""

import math

import numpy as np
import torch
from torch import Tensor

from base.errors import DataError

FRAMES = 16
SLOT_FRAMES = 4


def pad_frames(frames: Tensor) -> Tensor:
    """[B, C, 20, H, W] of clips [B, C, F, H, W].

    Raises:
        DataError: another number of frames.
    """
    if frames.shape[2] != FRAMES:
        raise DataError(f"a clip has {frames.shape[2]} frames; the model takes {FRAMES}")
    first, last = frames[:, :, :1], frames[:, :, -1:]
    return torch.cat([first.expand(-1, -1, SLOT_FRAMES - 1, -1, -1), frames, last], dim=2)


def cut_frames(padded: Tensor) -> Tensor:
    """The reverse: [B, C, F, H, W]; what stands for one frame is averaged."""
    first = padded[:, :, :SLOT_FRAMES].mean(2, keepdim=True)
    last = padded[:, :, -2:].mean(2, keepdim=True)
    return torch.cat([first, padded[:, :, SLOT_FRAMES:-2], last], dim=2)


def picture_values(frames: np.ndarray) -> Tensor:
    """[B, 3, F, H, W] in -1 to 1 of frames [B, F, H, W, 3] uint8."""
    return torch.tensor(frames).movedim(-1, 1).float() / 127.5 - 1.0


def pictures(values: Tensor) -> np.ndarray:
    """The reverse, uint8."""
    levels = ((values.clamp(-1.0, 1.0) + 1.0) * 127.5).round()
    return levels.movedim(1, -1).to(torch.uint8).cpu().numpy()


def depth_values(depth_m: np.ndarray, nearest_m: float, farthest_m: float) -> Tensor:
    """[B, 1, F, H, W] of depth [B, F, H, W]: its logarithm, -1 at the nearest, 1 farthest."""
    logarithm = torch.from_numpy(np.log(np.clip(depth_m, nearest_m, farthest_m) / nearest_m))
    return (2.0 * logarithm / math.log(farthest_m / nearest_m) - 1.0).float()[:, None]


def depth_metres(values: Tensor, nearest_m: float, farthest_m: float) -> np.ndarray:
    """The reverse, [B, F, H, W] float32."""
    share = (values[:, 0].clamp(-1.0, 1.0) + 1.0) / 2.0
    return (nearest_m * (farthest_m / nearest_m) ** share).cpu().numpy()
