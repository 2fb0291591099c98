"""From a picture to what the VAE encodes: covering the target, cut out of the middle."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def prepare_image(picture: Image.Image, height: int, width: int) -> Tensor:
    """A picture as [1, 3, height, width] in [-1, 1], as the original prepares its training data.

    It is resized (Lanczos) until it just covers the target, then the middle is cut out.

    Args:
        picture: of any mode and size.
        height: of the result, in pixels.
        width: the same.
    """
    picture = picture.convert("RGB")
    ratio = picture.width / picture.height
    size = (int(ratio * height), height)
    if ratio <= width / height:
        size = (width, int(width / ratio))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    resized = picture.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(resized.crop((left, top, left + width, top + height)), dtype=np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)[None] * 2 - 1
