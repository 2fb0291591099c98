"""Text and thumbnails, as the pictures of the report draw them."""

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eval.images import resize

THUMB, GAP, LINE = 192, 6, 16  # pixels
INK, FAINT, PAPER = (25, 25, 25), (120, 120, 120), (255, 255, 255)


def thumbnail(pixels: np.ndarray) -> Image.Image:
    """An image, uint8 [H, W, 3], with its long side `THUMB` pixels; enlarged ones keep pixels."""
    height, width = pixels.shape[:2]
    scale = THUMB / max(height, width)
    small = max(1, round(height * scale)), max(1, round(width * scale))
    return Image.fromarray(
        resize(pixels, *small, resize_filter="nearest" if scale >= 1 else "lanczos")
    )


def write_line(
    drawing: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    width: int,
    size: int,
    ink: tuple[int, int, int],
) -> None:
    """One line of text, cut where it would be wider than `width` pixels."""
    text, letters = " ".join(text.split())[:300], font(size)
    while text and drawing.textlength(text, font=letters) > width:
        text = text.removesuffix("\u2026")[:-1] + "\u2026" if len(text) > 1 else ""
    drawing.text(corner, text, fill=ink, font=letters)


def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: it also has Greek, Cyrillic and more."""
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
