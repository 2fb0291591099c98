"""Keep the figures and the picture of the comparison on the small 4M.

    python -m benchmarks.front_fourm runs/compare_fourm runs/ppo_fourm

The folders: `prunegym compare --config configs/compare/fourm.yaml`, and the trainings that it is
about. Writes `compare_fourm.json` and `docs/images/fourm_front.png`.
"""

import shutil
import sys
from pathlib import Path

from base.files import read_json
from benchmarks.record import FOLDER, record


def main() -> None:
    """Copy."""
    compared, runs = (Path(folder) for folder in sys.argv[1:3])
    trainings = {
        folder.name: read_json(folder / "evaluations.json")
        for folder in sorted(runs.iterdir())
        if (folder / "evaluations.json").is_file()
    }
    figures = {
        "configs": ["configs/compare/fourm.yaml", "configs/train/ppo_fourm.yaml"],
        "comparison": read_json(compared / "comparison.json"),
        "trainings": trainings,
    }
    record("compare_fourm", figures)
    shutil.copyfile(compared / "front.png", FOLDER.parent / "docs" / "images" / "fourm_front.png")


if __name__ == "__main__":
    main()
