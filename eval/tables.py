"""The files of results: JSON for programs, CSV for spreadsheets."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from base.files import write_atomic, write_json
from eval.comparison import ORIGINAL
from eval.decisions import decisions_text
from eval.evaluation import Evaluation
from eval.figures import ids_of
from eval.findings import hash_text
from eval.rows import HASH_BYTES

_IMAGES_AT_A_TIME = 4096
LEGACY_COLUMNS = {
    "psnr_capped100": "PSNR",
    "ssim": "SSIM",
    "ssim_uniform7": "SSIM",
    "ssim_legacy3": "SSIM",
    "lpips": "LPIPS",
    "lpips_standin": "LPIPS_standin",
    "clip": "CLIP",
    "clip_scenes": "CLIP_scenes",
}


def write_tables(evaluation: Evaluation, folder: str | Path, legacy: bool = False) -> None:
    """Write the results into a folder, replacing those that are there.

    `summary.json`, `summary.csv` (one row for each folder and figure), `per_image.csv` (one row for
    each image and folder), `per_image_wide.csv` (one row for each image), `skipped.csv` (what was
    not computed, and why) and `environment.json`. An empty cell is a figure that was not computed.

    Args:
        evaluation: the results.
        folder: where to.
        legacy: write `evaluation_results.csv` in the form of the predecessor, too.
    """
    folder = Path(folder)
    write_json(folder / "summary.json", evaluation.summary)
    write_json(folder / "environment.json", evaluation.environment)
    _write_csv(folder / "summary.csv", summary_table(evaluation.summary))
    write_atomic(folder / "per_image.csv", partial(_write_in_parts, evaluation, _long_part))
    write_atomic(folder / "per_image_wide.csv", partial(_write_in_parts, evaluation, _wide_part))
    _write_csv(folder / "skipped.csv", evaluation.skipped)
    if legacy:
        table = legacy_table(evaluation.summary)
        write_atomic(folder / "evaluation_results.csv", table.to_csv)


def summary_table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row for each folder and figure."""
    rows = []
    for name, folder in summary["folders"].items():
        for figure, values in folder["figures"].items():
            low, high = values["ci95"] or (None, None)
            numbers = {key: values[key] for key in ("n", "mean", "std", "median")}
            rows.append(
                {"folder": name, "figure": figure, **numbers, "ci95_low": low, "ci95_high": high}
            )
    return pd.DataFrame(
        rows,
        columns=["folder", "figure", "n", "mean", "std", "median", "ci95_low", "ci95_high"],
    )


def _write_in_parts(
    evaluation: Evaluation, part: Callable[[Evaluation, slice], pd.DataFrame], path: Path
) -> None:
    """Write a table of images a few thousand at a time: with texts, all would take much memory."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        for start in range(0, len(evaluation.file_hashes), _IMAGES_AT_A_TIME):
            table = part(evaluation, slice(start, start + _IMAGES_AT_A_TIME))
            table.to_csv(file, index=False, header=start == 0)


def _long_part(evaluation: Evaluation, images: slice) -> pd.DataFrame:
    """One row for each folder of these images, with all that is known in words."""
    comparison, folders = evaluation.comparison, len(evaluation.comparison.folders)
    table = evaluation.images.iloc[images.start * folders : images.stop * folders].copy()
    costs = [
        comparison.compute[f].get(i) for f, i in zip(table["folder"], table["id"], strict=True)
    ]
    prompts = [comparison.prompts[key] for key in table["id"]]
    hashes = evaluation.file_hashes[images].reshape(-1, HASH_BYTES)
    table["decisions"] = [decisions_text(cost.decisions) if cost else "" for cost in costs]
    table["file_sha256"] = [hash_text(file_hash) for file_hash in hashes]
    table["prompt"] = [prompt.text for prompt in prompts]
    table["prompt_source"] = [prompt.source for prompt in prompts]
    return table


def _wide_part(evaluation: Evaluation, images: slice) -> pd.DataFrame:
    """One row for each of these images, a column `<figure>_<folder>` for what a folder has."""
    comparison, figures = evaluation.comparison, [figure.name for figure in evaluation.figures]
    folders = len(comparison.folders)
    table = evaluation.images.iloc[images.start * folders : images.stop * folders]
    keys = ids_of(table).to_list()
    wide = {
        "id": keys,
        "prompt": [comparison.prompts[key].text for key in keys],
        "category": table["category"].to_list()[::folders],
    }
    for figure in ["status", *figures]:
        values = table[figure].to_numpy().reshape(-1, folders)
        for column, name in enumerate(comparison.folders):
            means = evaluation.summary["folders"][name]["figures"]
            if figure == "status" or figure in means:
                wide[f"{figure}_{name}"] = values[:, column]
    return pd.DataFrame(wide)


def legacy_table(summary: dict[str, Any]) -> pd.DataFrame:
    """Means in the predecessor's rows and columns; what was not computed is empty, not 0."""
    rows = {}
    for name in [*(name for name in summary["folders"] if name != ORIGINAL), ORIGINAL]:
        figures = summary["folders"][name]["figures"]
        label = "ORIGINAL" if name == ORIGINAL else name
        rows[label] = {
            label: figures.get(figure, {}).get("mean")
            for figure, label in LEGACY_COLUMNS.items()
            if figure in summary["definitions"]
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    write_atomic(path, lambda target: table.to_csv(target, index=False))
