"""What one episode of frame skipping is about: a clip. T frames."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from base.errors import DataError
from sign_backend.clip import Keypoints

Frames = NDArray[np.uint8]  # [T, height, width, 3] RGB


@dataclass(frozen=True)
class SignClip:
    """A clip, and what is known of it before anybody looked for a signer.

    Attributes:
        name: what a person reads.
        content: tells it from all others; part of every cache key.
        motion: [T, 2], see `sign_backend.motion`.
        height, width: of a frame, in pixels.
        keypoints: of a run that looked at every frame; None where only a tracker can tell.
        frames: reads or draws the frames; None where there is nothing but keypoints.
        source: the name of the clip that this one is the end of; empty where it is a whole one.
        first_frame: where in it this one begins.
    """

    name: str
    content: str
    motion: NDArray[np.float32] = field(compare=False, repr=False)
    height: int
    width: int
    keypoints: Keypoints | None = field(default=None, compare=False, repr=False)
    frames: Callable[[], Frames] | None = field(default=None, compare=False, repr=False)
    source: str = ""
    first_frame: int = 0

    def __post_init__(self) -> None:
        if self.keypoints is not None and len(self.keypoints.points) != len(self.motion):
            raise DataError(
                f"{self.name}: keypoints of {len(self.keypoints.points)} frames, motion of "
                f"{len(self.motion)}"
            )

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.motion)


@dataclass(frozen=True)
class SignRequest:
    """A clip; `seed` draws which hands are lost where tracking is modelled, and nothing else."""

    clip: SignClip
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self.clip.content}/{self.seed}"

    @property
    def label(self) -> str:
        return self.clip.name

    def with_seed(self, seed: int) -> "SignRequest":
        return replace(self, seed=seed)
