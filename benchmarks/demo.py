"""Keep the figures and the contact sheet of a finished demo.

    prunegym demo && python -m benchmarks.demo runs/demo

Writes `demo.json` and `docs/images/contact_sheet.png`.
"""

import shutil
import sys
from pathlib import Path

from base.files import read_json
from benchmarks.record import FOLDER, record


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
    name = "contact_sheet.png"
    shutil.copyfile(demo / "report" / name, FOLDER.parent / "docs" / "images" / name)


if __name__ == "__main__":
    main()
