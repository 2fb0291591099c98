"""Keep the figures and the contact sheet of a finished demo.

    prunegym demo && python -m benchmarks.demo runs/demo
    prunegym demo --generator fourm --out runs/demo_fourm && \
        python -m benchmarks.demo runs/demo_fourm fourm

Writes `demo.json` and `docs/images/contact_sheet.png`, or `demo_fourm.json` and
`docs/images/fourm_contact_sheet.png`.
"""

import shutil
import sys
from pathlib import Path

from base.files import read_json
from benchmarks.record import FOLDER, record
from commands.demo import DEMOS


def main() -> None:
    """Copy what the demo in the given folder measured."""
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    generator = sys.argv[2] if len(sys.argv) > 2 else "infinity"
    figures = {
        "made_by": f"prunegym demo --generator {generator}",
        "config": str(DEMOS[generator].config.relative_to(FOLDER.parent)),
        "training": read_json(demo / "training" / "evaluations.json"),
        "evaluation": read_json(demo / "report" / "summary.json"),
    }
    other = generator != "infinity"
    record(f"demo_{generator}" if other else "demo", figures)
    name = "contact_sheet.png"
    kept = FOLDER.parent / "docs" / "images" / (f"{generator}_{name}" if other else name)
    shutil.copyfile(demo / "report" / name, kept)


if __name__ == "__main__":
    main()
