"""Keep the figures and pictures of a comparison and of the trainings that it is about.

    python -m benchmarks.front runs/compare runs/compare_keep_skip runs/ppo_table

The folders: `prunegym compare` against every schedule of the default menu, the same against those
that only keep or skip, and the runs of one training configuration under several seeds. Writes
`compare_scenes.json`, `docs/images/front.png` and `docs/images/learning_curve.png`.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from base.files import read_json, write_atomic
from benchmarks.record import FOLDER, record

IMAGES = FOLDER.parent / "docs" / "images"


def draw_learning_curve(trainings: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Return, compute saved and SSIM on validation prompts, one line a training seed."""
    canvas = Figure(figsize=(11, 3.4), dpi=130)
    names = {
        "return": "return on validation prompts, in shares of compute",
        "saved": "compute saved, at the middle weight",
        "ssim": "SSIM, at the middle weight",
    }
    for axes, (figure, label) in zip(canvas.subplots(1, 3), names.items(), strict=True):
        for name, evaluations in trainings.items():
            steps = np.array([row["steps"] for row in evaluations]) / 1000
            axes.plot(steps, [row[figure] for row in evaluations], "o-", markersize=3, label=name)
        axes.set_xlabel("thousand steps of the environment")
        axes.set_ylabel(label, fontsize=8)
        axes.grid(alpha=0.25)
    axes.legend(fontsize=7)
    canvas.tight_layout()
    write_atomic(path, lambda target: canvas.savefig(target, format="png"))


def main() -> None:
    """Copy and draw."""
    full, keep_skip, runs = (Path(folder) for folder in sys.argv[1:4])
    trainings = {
        folder.name: read_json(folder / "evaluations.json")
        for folder in sorted(runs.iterdir())
        if (folder / "evaluations.json").is_file()
    }
    figures = {
        "configs": ["configs/compare/scenes.yaml", "configs/train/ppo_table.yaml"],
        "default_menu": read_json(full / "comparison.json"),
        "keep_or_skip": read_json(keep_skip / "comparison.json"),
        "trainings": trainings,
    }
    record("compare_scenes", figures)
    shutil.copyfile(full / "front.png", IMAGES / "front.png")
    draw_learning_curve(trainings, IMAGES / "learning_curve.png")


if __name__ == "__main__":
    main()
