"""A user's own video as a request. T frames."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sign_backend.clip import Keypoints
from sign_backend.mediapipe_source import MediaPipeSource, content_of
from sign_backend.motion import motion
from sign_backend.request import Frames, SignClip, SignRequest


def video_request(
    path: Path, seed: int, source: MediaPipeSource, *, live: bool = False
) -> SignRequest:
    """Read a video once; what is found in it is kept by its content.

    Args:
        path: a video file, or a folder with its frames.
        seed: draws which hands are lost where tracking is modelled.
        source: reads it, and looks for keypoints.
        live: leave the keypoints to the tracker that runs while decisions are taken.

    Raises:
        DataError: it cannot be read, or not all of its frames can.
        ResourceError: there is no environment with MediaPipe.
    """
    frames = source.read(path)
    keypoints = None if live else source.extract(path)
    return SignRequest(video_clip(path, frames, partial(source.read, path), keypoints), seed)


def video_clip(
    path: Path, frames: Frames, read: Callable[[], Frames], keypoints: Keypoints | None = None
) -> SignClip:
    """A video whose frames [T, height, width, 3] are known; `read` gives them again."""
    return SignClip(
        name=path.stem if path.is_file() else path.name,
        content=f"video {content_of(path)}",
        motion=motion(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        keypoints=keypoints,
        frames=read,
    )
