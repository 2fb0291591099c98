"""Keypoints that somebody has found before: one `.npy` a clip, as SignON's training keeps them."""

from pathlib import Path

import numpy as np

from base.errors import DataError
from sign_backend.clip import Keypoints


class KeypointFiles:
    """A `KeypointSource` for `.npy` files with raw keypoints, `[T, 75, 3]`.

    Such a file does not say how large the frames were; `height` and `width` of what it gives are
    both 1, so the aspect ratio has to come from elsewhere.
    """

    def extract(self, path: Path) -> Keypoints:
        """Read one file.

        Raises:
            DataError: it is missing, damaged, or holds something else.
        """
        try:
            points = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is not a whole .npy file: {error}") from None
        if not np.issubdtype(points.dtype, np.floating):
            raise DataError(f"{path} holds {points.dtype}; expected raw keypoints, float64")
        return Keypoints(points.astype(np.float64), height=1, width=1)
