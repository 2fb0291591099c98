"""The keypoints of one clip, and where they come from: the seam between video and model.

T frames, 75 keypoints (33 of the body, 21 of each hand), each with x, y and z. x and y are relative
to the picture's width and height; a part that was not found in a frame is NaN in all of its rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from base.errors import DataError

NUM_KEYPOINTS = 75
BODY, LEFT_HAND, RIGHT_HAND = slice(0, 33), slice(33, 54), slice(54, 75)
PARTS = {"body": BODY, "left hand": LEFT_HAND, "right hand": RIGHT_HAND}


@dataclass(frozen=True)
class Keypoints:
    """What was found in one clip.

    Attributes:
        points: `[T, 75, 3]` float64, NaN where a part was not found; never written to.
        height: of a decoded frame, in pixels.
        width: of a decoded frame, in pixels.
        announced: frames that the file says it has; None if it does not. More than T where a file
            is damaged (some containers only estimate it).
    """

    points: NDArray[np.float64]
    height: int
    width: int
    announced: int | None = None

    def __post_init__(self) -> None:
        shape, kind = self.points.shape, self.points.dtype
        if len(shape) != 3 or shape[1:] != (NUM_KEYPOINTS, 3) or kind != np.float64:
            raise DataError(
                f"keypoints are {kind} {list(shape)}; expected float64 [frames, {NUM_KEYPOINTS}, 3]"
            )
        if self.height < 1 or self.width < 1:
            raise DataError(f"frames of {self.height} x {self.width} pixels; expected at least 1")


class KeypointSource(Protocol):
    """Finds the keypoints of a video file, or of a folder with its frames."""

    def extract(self, path: Path) -> Keypoints:
        """Return the keypoints of all frames. May be called from several threads at once.

        Raises:
            DataError: this one cannot be read (missing, empty, corrupt, unknown codec); the next
                one may be fine.
            ResourceError: nothing can be extracted here (no tracker, a model file is missing).
        """
        ...
