"""The files of results: JSON for programs, CSV for spreadsheets."""

from pathlib import Path
from typing import Any

import pandas as pd

from base.files import write_atomic, write_json
from eval.comparison import ORIGINAL
from eval.evaluation import Evaluation

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
    _write_csv(folder / "per_image.csv", evaluation.images)
    _write_csv(folder / "per_image_wide.csv", wide_table(evaluation))
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


def wide_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row for each image, one column `<figure>_<folder>` for each figure that a folder has."""
    images = evaluation.images
    parts = [images.drop_duplicates("id").set_index("id")[["prompt", "category"]]]
    for figure in ["status", *(figure.name for figure in evaluation.figures)]:
        wide = images.pivot(index="id", columns="folder", values=figure)
        wide = wide[[name for name in evaluation.comparison.folders if wide[name].notna().any()]]
        parts.append(wide.add_prefix(f"{figure}_"))
    return pd.concat(parts, axis="columns").reset_index()


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
