"""How much the picture moves: what a policy may know of frames that nobody looked at.

Every frame is decoded whatever is decided, and differences of small grey pictures cost next to
nothing beside the tracker. T frames.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOTION = ("mean", "peak")  # the columns
_WIDTH = 64  # of a small picture, about
_BLOCKS = (4, 6)  # rows and columns of the grid whose busiest block is the peak


def motion(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Differences to the frame before, in shares of the full range of grey.

    Args:
        frames: [T, height, width, 3] RGB.

    Returns:
        [T, 2]: mean over the picture, and mean over the block in which it is largest; 0 for the
        first frame.
    """
    factor = max(frames.shape[2] // _WIDTH, 1)
    grey = np.stack(
        [np.asarray(Image.fromarray(frame).convert("L").reduce(factor)) for frame in frames]
    )
    change = np.abs(np.diff(grey.astype(np.int16), axis=0)) / 255.0  # [T - 1, h, w]
    blocks = [
        block.mean(axis=(1, 2))
        for band in np.array_split(change, _BLOCKS[0], axis=1)
        for block in np.array_split(band, _BLOCKS[1], axis=2)
        if block.size
    ]
    columns = [change.mean(axis=(1, 2)), np.max(blocks, axis=0)] if len(change) else [[], []]
    return np.concatenate([np.zeros((1, 2)), np.stack(columns, axis=1)]).astype(np.float32)
