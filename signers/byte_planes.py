"""Whole numbers of 16 bits as two arrays of bytes, which compress better.

n frames, k coordinates. One row a coordinate, time innermost: neighbours are alike.
"""

import numpy as np
from numpy.typing import NDArray


def to_planes(values: NDArray[np.int16]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """[n, k] to the lower and the upper bytes, [k, n] each."""
    bits = values.view(np.uint16)
    return (bits & 255).astype(np.uint8).T, (bits >> 8).astype(np.uint8).T


def from_planes(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> NDArray[np.int16]:
    """[n, k] again."""
    bits = (low.astype(np.uint16) | (high.astype(np.uint16) << 8)).T
    return np.ascontiguousarray(bits).view(np.int16)
