"""Keep the figures and the picture of a finished demo.

    prunegym demo && python -m benchmarks.demo runs/demo

Writes `demo.json` and `docs/images/front.png`, `docs/images/contact_sheet.png`.
"""

import shutil
import sys
from pathlib import Path

from base.files import read_json
from benchmarks.record import FOLDER, record

PICTURES = {"quality_against_compute.png": "front.png", "contact_sheet.png": "contact_sheet.png"}


def main() -> None:
    """Copy what the demo in the given folder measured."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    figures = {
        "made_by": "prunegym demo",
        "config": "configs/demo/scenes.yaml",
        "training": read_json(demo / "training" / "evaluations.json"),
        "evaluation": read_json(demo / "report" / "summary.json"),
    }
    record("demo", figures)
    for source, target in PICTURES.items():
        shutil.copyfile(demo / "report" / source, FOLDER.parent / "docs" / "images" / target)


if __name__ == "__main__":
    main()
