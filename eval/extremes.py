"""The worst and the best images of each candidate, with what differs from Original."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from base.files import write_atomic
from eval.comparison import ORIGINAL
from eval.contact_sheet import quality_order
from eval.drawing import FAINT, GAP, INK, LINE, PAPER, THUMB, thumbnail, write_line
from eval.evaluation import Evaluation
from eval.headline import heading
from eval.images import decode, resize

AMPLIFIED = 4

_ROW_HEIGHT = THUMB + 2 * LINE + 2 * GAP
_BLOCK_WIDTH = 3 * (THUMB + GAP) + 4 * GAP


def draw_worst_and_best(evaluation: Evaluation, path: Path, count: int = 2) -> Path | None:
    """Draw Original, candidate and their difference, the `count` worst above the `count` best.

    Differences are absolute, in each channel, times 4: black is equal.

    Returns:
        The path; None (and nothing is drawn) if no image is in all of these folders.
    """
    candidates = evaluation.comparison.side_by_side
    chosen = {}
    for name in candidates:
        order = quality_order(evaluation, name)
        best = [key for key in order[-count:] if key not in order[:count]]
        chosen[name] = [(f"worst {n}", key) for n, key in enumerate(order[:count], start=1)]
        chosen[name] += [(f"best {n}", key) for n, key in enumerate(reversed(best), start=1)]
    rows = max(len(places) for places in chosen.values())
    if not rows:
        return None
    sheet = Image.new("RGB", (len(candidates) * _BLOCK_WIDTH, rows * _ROW_HEIGHT + LINE), PAPER)
    for column, name in enumerate(candidates):
        for row, (place, key) in enumerate(chosen[name]):
            corner = (GAP + column * _BLOCK_WIDTH, row * _ROW_HEIGHT)
            _draw_row(sheet, corner, evaluation, name, place, key)
    legend = f"from left: {ORIGINAL}, candidate, difference times {AMPLIFIED} (black is equal)"
    corner = (GAP, rows * _ROW_HEIGHT)
    write_line(ImageDraw.Draw(sheet), corner, legend, sheet.width, 10, FAINT)
    write_atomic(path, lambda target: sheet.save(target, format="PNG"))
    return path


def difference(pixels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The absolute difference of two uint8 [H, W, 3], times `AMPLIFIED`, at most 255."""
    distance = np.abs(pixels.astype(np.int16) - reference.astype(np.int16))
    return np.minimum(AMPLIFIED * distance, 255).astype(np.uint8)


def _draw_row(
    sheet: Image.Image,
    corner: tuple[int, int],
    evaluation: Evaluation,
    name: str,
    place: str,
    key: str,
) -> None:
    drawing, (left, top) = ImageDraw.Draw(sheet), corner
    images = evaluation.images
    row = images[(images["id"] == key) & (images["folder"] == name)].iloc[0]
    figures = [name for name in _shown_figures(evaluation) if pd.notna(row[name])]
    width = 3 * (THUMB + GAP)
    write_line(drawing, (left, top + 2), f"{name}, {place}: {key}", width, 12, INK)
    text = ", ".join(f"{heading(figure)} {row[figure]:.4g}" for figure in figures)
    write_line(drawing, (left, top + LINE + 2), text, width, 11, FAINT)
    reference = decode(evaluation.comparison.folders[ORIGINAL].images[key]).pixels
    pixels = decode(evaluation.comparison.folders[name].images[key]).pixels
    if reference is None or pixels is None:  # they could be read a moment ago
        write_line(drawing, (left, top + 3 * LINE), "unreadable", THUMB, 12, FAINT)
        return
    if pixels.shape != reference.shape:
        height, width, _ = reference.shape
        pixels = resize(pixels, height, width, "bicubic")
    for column, picture in enumerate((reference, pixels, difference(pixels, reference))):
        place_at = (left + column * (THUMB + GAP), top + 2 * LINE + GAP)
        sheet.paste(thumbnail(picture), place_at)


def _shown_figures(evaluation: Evaluation) -> list[str]:
    hidden = ("psnr", "psnr_capped100", "cost_flops", "latency_ms")
    return [figure.name for figure in evaluation.figures if figure.name not in hidden][:5]
