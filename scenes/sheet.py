"""Contact sheets: pictures under their captions, for a person to judge."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from base.files import write_atomic

_SCALE, _COLUMNS, _LINE = 3, 6, 11  # enlargement; pictures per row; pixels per line of text
_WIDTH = 64 * _SCALE


def contact_sheet(
    rows: Sequence[np.ndarray], captions: Sequence[str], path: Path, title: str
) -> Path:
    """Write a PNG with, for each caption, its pictures one under the other.

    Args:
        rows: kinds of pictures (such as generated and real), each uint8 [N, 64, 64, 3].
        captions: N captions.
        path: the file.
        title: the line on top; says which row is what.
    """
    text_height = 10 * _LINE
    cell = len(rows) * (_WIDTH + 2) + text_height
    lines = -(-len(captions) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (_WIDTH + 8), lines * cell + 2 * _LINE), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 4), title, fill="black")
    for index, caption in enumerate(captions):
        x, y = index % _COLUMNS * (_WIDTH + 8) + 4, index // _COLUMNS * cell + 2 * _LINE
        for pictures in rows:
            picture = Image.fromarray(pictures[index]).resize(
                (_WIDTH, _WIDTH), Image.Resampling.NEAREST
            )
            sheet.paste(picture, (x, y))
            y += _WIDTH + 2
        for part in caption.replace(" and ", "\nand ").replace(" on a ", "\non a ").split("\n"):
            for line in textwrap.wrap(part, 31):
                draw.text((x, y), line, fill="black")
                y += _LINE
    return write_atomic(path, lambda target: sheet.save(target, format="PNG"))
