"""Decoding, by one rule: the first frame as Pillow's RGB, 8 bits, turned by nothing.

Grey is replicated, palettes are expanded, 16-bit grey is divided by 257, EXIF rotation is ignored,
and alpha is dropped (what the predecessor's numbers mean) or laid over white or black.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from base.errors import ConfigError
from eval.folders import printable

ALPHA_RULES = ("drop", "white", "black")
LARGEST_IMAGE_PIXELS = 2**26  # 8192 x 8192: a small file can claim to be far larger
LARGEST_FILE_BYTES = 2**28

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")  # EPS would start a program
_SIXTEEN_BIT_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_NO_RULE = ("I", "F")


@dataclass(frozen=True)
class Decoded:
    """A file of an image: its pixels, or why there are none.

    Attributes:
        pixels: uint8 RGB [H, W, 3], or None.
        problem: why there are no pixels; empty otherwise.
        file_sha256: hash of the file's bytes; empty if they could not be read.
        has_alpha: whether the file had transparency.
        lossy: whether the file's format changes pixels.
    """

    pixels: np.ndarray | None
    problem: str = ""
    file_sha256: str = ""
    has_alpha: bool = False
    lossy: bool = False


def decode(path: Path, alpha: str = "drop") -> Decoded:
    """Read an image. A broken file is a result with a `problem`, not an error.

    Args:
        path: the file.
        alpha: what happens to transparency: `drop`, or laid over `white` or `black`.

    Raises:
        ConfigError: an unknown rule for alpha.
    """
    if alpha not in ALPHA_RULES:
        raise ConfigError(f"alpha is {alpha!r}; expected one of {list(ALPHA_RULES)}")
    sha256 = ""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ValueError(f"the file is larger than {LARGEST_FILE_BYTES} bytes")
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > LARGEST_IMAGE_PIXELS:
                raise ValueError(f"{image.width}x{image.height} is more pixels than are accepted")
            image.load()
            return Decoded(
                pixels=np.asarray(_to_rgb(image, alpha)),
                file_sha256=sha256,
                has_alpha=image.has_transparency_data,
                lossy=_is_lossy(str(image.format), data),
            )
    except UnidentifiedImageError:
        return Decoded(None, "UnidentifiedImageError: no image format that is known", sha256)
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        return Decoded(None, printable(f"{type(error).__name__}: {error}"), sha256)


def claimed_pixels(path: Path) -> int:
    """How many pixels a file says that it has; 0 if `decode` will not decode it."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            return 0
        with Image.open(path, formats=_FORMATS) as image:
            pixels = image.width * image.height
            return pixels if pixels <= LARGEST_IMAGE_PIXELS else 0
    except Exception:  # what is wrong with it, `decode` will say
        return 0


def resize(pixels: np.ndarray, height: int, width: int, resize_filter: str) -> np.ndarray:
    """Resize uint8 RGB [h, w, 3] to [height, width, 3] by a filter of Pillow, such as `lanczos`."""
    method = Image.Resampling[resize_filter.upper()]
    return np.asarray(Image.fromarray(pixels).resize((width, height), method))


def _is_lossy(image_format: str, data: bytes) -> bool:
    if image_format == "WEBP":
        return b"VP8L" not in data  # the mark of its lossless form
    return image_format in ("JPEG", "MPO")


def _to_rgb(image: Image.Image, alpha: str) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_GREY:
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode in _NO_RULE:
        raise ValueError(f"no rule turns the pixel mode {image.mode} into 8 bits")
    if alpha == "drop" or not image.has_transparency_data:
        return image.convert("RGB")
    background = Image.new("RGBA", image.size, alpha)
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")
