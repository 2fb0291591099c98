"""Files of clips and arrays: reading what is given, writing what can be looked at.

Shapes: F = 16 frames, H x W pixels.
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from base.errors import DataError
from base.files import write_atomic
from fourm_backend.video import FRAMES

CODE_FILES, VIDEO_FILES = (".npz", ".npy"), (".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif")
FRAME_MS = 125  # 8 frames a second


def read_array(path: Path) -> np.ndarray:
    """One array from `.npy`, or the first one of an `.npz`.

    Raises:
        DataError: a file that cannot be read.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def read_clip(path: Path, side: int) -> np.ndarray:
    """[F, side, side, 3] uint8: the first 16 frames, the largest square in the middle, resized.

    Raises:
        DataError: a file that cannot be read here, or one with fewer frames.
    """
    import imageio.v3 as imageio

    try:
        gif = path.suffix == ".gif"
        frames = _gif_frames(path) if gif else list(imageio.imiter(path, plugin="pyav"))
    except ImportError:
        raise DataError(
            f"{path}: reading {path.suffix} needs PyAV (pip install av, or the extra "
            "`video`); a .gif, or codes as .npz, need nothing"
        ) from None
    except Exception as error:  # the libraries raise of all kinds
        raise DataError(f"{path} cannot be read as a video: {error}") from None
    if len(frames) < FRAMES:
        raise DataError(f"{path} has {len(frames)} frames; the model takes {FRAMES} (8 a second)")
    return np.stack([_square(frame[..., :3], side) for frame in frames[:FRAMES]])


def _gif_frames(path: Path) -> list[np.ndarray]:
    """A frame that is shown for long counts as several: equal ones are written as one."""
    frames = []
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            repeats = max(round(frame.info.get("duration", FRAME_MS) / FRAME_MS), 1)
            frames += [np.asarray(frame.convert("RGB"))] * repeats
    return frames


def _square(frame: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(frame)
    size = min(image.size)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)).resize((side, side)))


def write_gif(path: Path, frames: np.ndarray) -> None:
    """Write frames [F, H, W, 3] uint8 as an endless GIF of 8 frames a second."""
    first, *later = [Image.fromarray(frame) for frame in frames]
    save = partial(
        first.save, format="GIF", append_images=later, duration=FRAME_MS, loop=0, save_all=True
    )
    write_atomic(path, save)
