"""A grid of what was given and what was made, as one picture."""

import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from base.files import write_atomic

Cell = tuple[str, np.ndarray | str]  # title, and a picture [H, W, 3] uint8 or a text
_INCHES, _COLUMNS_OF_TEXT, _LINES = 2.4, 30, 14


def save_grid(path: Path, columns: Sequence[Sequence[Cell]]) -> None:
    """Write columns of cells side by side, as JPEG."""
    from matplotlib.figure import Figure

    rows = max(map(len, columns))
    figure = Figure(figsize=(_INCHES * len(columns), _INCHES * rows), dpi=100, layout="tight")
    for column, cells in enumerate(columns):
        for row, (title, content) in enumerate(cells):
            axes = figure.add_subplot(rows, len(columns), row * len(columns) + column + 1)
            axes.set_axis_off()
            axes.set_title(title, fontsize=7)
            if isinstance(content, str):
                lines = textwrap.wrap(content, _COLUMNS_OF_TEXT)[:_LINES]
                axes.text(0.0, 1.0, "\n".join(lines), va="top", fontsize=7, parse_math=False)
            else:
                axes.imshow(content, interpolation="nearest")
    write_atomic(path, partial(_save, figure))


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="jpeg", pil_kwargs={"quality": 92})
