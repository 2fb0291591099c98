"""The contact sheet: the same image of every folder side by side, with what was decided for it.

Under each image of a candidate lies a strip with one cell for each stage, coarse to fine: the
darker, the more of the stage was pruned; the number is the share, a cross is a skipped stage, and
an orange line means that the stage ran without guidance.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from base.files import write_atomic
from eval.comparison import ORIGINAL, Comparison
from eval.compute import StageDecision
from eval.drawing import FAINT, GAP, INK, LINE, PAPER, THUMB, font, thumbnail, write_line
from eval.evaluation import Evaluation
from eval.figures import ids_of, quality_figures
from eval.images import decode
from eval.scoring import OK

_CAPTION, _STRIP = 36, 20  # pixels
_CARD_HEIGHT = _CAPTION + THUMB + 2 * LINE + _STRIP + 3 * GAP
_ORANGE = (230, 159, 0)


def choose_images(evaluation: Evaluation, count: int) -> list[str]:
    """Images that all shown folders have, from the worst to the best of the last one, evenly.

    The order is that of `quality_order`; without it, that of the names.
    """
    keys = quality_order(evaluation, evaluation.comparison.side_by_side[-1])
    picked = np.unique(np.linspace(0, len(keys) - 1, min(count, len(keys))).round().astype(int))
    return [keys[index] for index in picked]


def quality_order(evaluation: Evaluation, candidate: str) -> list[str]:
    """Images that all shown folders have, the worst of this candidate first.

    What counts is the first figure that compares with Original; without one, the names.
    """
    images, folders = evaluation.images, list(evaluation.comparison.folders)
    shown = [folders.index(name) for name in (ORIGINAL, *evaluation.comparison.side_by_side)]
    good = (images["status"] == OK).to_numpy().reshape(-1, len(folders))
    complete = good[:, shown].all(axis=1)
    keys = ids_of(images)[complete].to_numpy()
    for quality in quality_figures(evaluation.figures)[:1]:
        values = images[quality.name].to_numpy().reshape(-1, len(folders))
        own = values[complete, folders.index(candidate)]
        keys = keys[np.argsort(own if quality.higher_is_better else -own, kind="stable")]
    return list(keys)


def draw_contact_sheet(evaluation: Evaluation, path: Path, count: int = 12) -> Path | None:
    """Draw up to `count` images of Original and of the candidates that are shown side by side.

    Returns:
        The path; None (and nothing is drawn) if no image is in all of these folders.
    """
    keys = choose_images(evaluation, count)
    if not keys:
        return None
    folders = [ORIGINAL, *evaluation.comparison.side_by_side]
    card_width = len(folders) * (THUMB + GAP) + GAP
    columns = max(1, min(len(keys), 1300 // card_width))
    rows = -(-len(keys) // columns)
    sheet = Image.new("RGB", (columns * card_width, rows * _CARD_HEIGHT + LINE), PAPER)
    drawing = ImageDraw.Draw(sheet)
    images = evaluation.images
    table = images[images["id"].isin(keys)].set_index(["folder", "id"])
    for index, key in enumerate(keys):
        left, top = (index % columns) * card_width, (index // columns) * _CARD_HEIGHT
        caption = f"{key}: {evaluation.comparison.prompts[key].text}"
        lines = textwrap.wrap(caption, width=card_width // 6, max_lines=2, placeholder=" \u2026")
        for number, line in enumerate(lines):
            corner = (left + GAP, top + 4 + number * (LINE - 1))
            write_line(drawing, corner, line, card_width - 2 * GAP, 11, INK)
        for column, name in enumerate(folders):
            corner = (left + GAP + column * (THUMB + GAP), top + _CAPTION)
            _draw_image(sheet, drawing, corner, evaluation.comparison, name, key)
            _draw_figures(drawing, corner, name, table.loc[(name, key)])
            cost = evaluation.comparison.compute[name].get(key)
            if cost and name != ORIGINAL:
                _draw_strip(drawing, corner, cost.decisions)
    legend = (
        "strip: share pruned of each stage, \u00d7 = skipped, orange below = guidance off; "
        f"stages {_stages(evaluation)}"
    )
    write_line(drawing, (GAP, rows * _CARD_HEIGHT), legend, sheet.width, 10, FAINT)
    write_atomic(path, lambda target: sheet.save(target, format="PNG"))
    return path


def _stages(evaluation: Evaluation) -> str:
    """The names of the stages, as the first image that has decisions gives them."""
    for costs in evaluation.comparison.compute.values():
        for cost in costs.values():
            if cost.decisions:
                return ", ".join(decision.stage for decision in cost.decisions)
    return "not recorded"


def _draw_image(
    sheet: Image.Image,
    drawing: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    comparison: Comparison,
    name: str,
    key: str,
) -> None:
    pixels = decode(comparison.folders[name].images[key]).pixels
    if pixels is None:  # it could be read a moment ago
        write_line(drawing, corner, "unreadable", THUMB, 12, FAINT)
        return
    sheet.paste(thumbnail(pixels), corner)


def _draw_figures(
    drawing: ImageDraw.ImageDraw, corner: tuple[int, int], name: str, row: pd.Series
) -> None:
    parts = []
    if name != ORIGINAL:
        formats = {"ssim": "SSIM {:.3f}", "psnr_capped50": "{:.1f} dB"}
        parts = [
            text.format(row[figure])
            for figure, text in formats.items()
            if figure in row and pd.notna(row[figure])
        ]
    if pd.notna(row["compute_saved"]) and name != ORIGINAL:
        parts.append(f"saved {row['compute_saved']:.0%}")
    left, top = corner[0], corner[1] + THUMB + 2
    write_line(drawing, (left, top), name, THUMB, 12, INK)
    write_line(drawing, (left, top + LINE), "  ".join(parts), THUMB, 11, FAINT)


def _draw_strip(
    drawing: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    decisions: Sequence[StageDecision],
) -> None:
    if not decisions:
        return
    top = corner[1] + THUMB + 2 + 2 * LINE
    width = THUMB / len(decisions)
    for index, (_, ratio, guidance) in enumerate(decisions):
        left, right = corner[0] + index * width, corner[0] + (index + 1) * width - 1
        shade = round(240 - 200 * ratio)
        drawing.rectangle((left, top, right, top + _STRIP - 4), fill=(shade, shade, shade))
        if not guidance:
            drawing.rectangle((left, top + _STRIP - 3, right, top + _STRIP - 1), fill=_ORANGE)
        number = "\u00d7" if ratio == 1 else f"{ratio:.2g}".removeprefix("0") or "0"
        ink = INK if shade > 128 else PAPER
        middle = ((left + right) / 2, top + (_STRIP - 4) / 2)
        drawing.text(middle, number, fill=ink, font=font(10), anchor="mm")
