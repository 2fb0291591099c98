"""`python -m tests.conformance SYSTEM FOLDER`: run every case of a folder of recorded numbers."""

import argparse
import importlib
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance.result import CaseResult

SYSTEMS = {
    "infinity": "manifest.json with configs, cases and weights (safetensors)",
    "evaluation": "<case>/{orig,fast,rl}/ image folders with expected.json",
    "predecessor": "dft_and_selection.{json,safetensors}, env_traces.json, skipvar.json (images in "
    "../eval_cases)",
    "fourm": "manifest_4m.json, manifest_egom2p.json, helpers.json, shapes of weights (*.json)",
    "sign": "manifest.json with cases (safetensors, Lightning .ckpt), videos for the tracker",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the cases, print a table, return 0 when all hold, 1 when one falls short, 3 for none."""
    listing = "\n".join(f"  {name}: {files}" for name, files in SYSTEMS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description=f"Compare with recorded numbers. Files looked for, by system:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("system", choices=sorted(SYSTEMS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", type=re.compile, help="run cases whose name matches this pattern")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        print(f"{options.folder} is not a folder", file=sys.stderr)
        return 3
    module = importlib.import_module(f"tests.conformance.{options.system}")
    results: list[CaseResult] = module.run(options.folder, options.only)
    print_table(results)
    failed = sum(result.verdict == "FAIL" for result in results)
    skipped = sum(result.verdict.startswith("not run") for result in results)
    print(f"{len(results) - failed - skipped} passed, {failed} failed, {skipped} not run")
    if not results:
        print(f"no case found in {options.folder}; see --help for the files", file=sys.stderr)
        return 3
    return 1 if failed else 0


def print_table(results: list[CaseResult]) -> None:
    """One line a quantity."""
    table = Table("case", "quantity", "largest error", "tolerance", "verdict")
    for result in results:
        error, tolerance = (
            "" if value is None else f"{value:.3g}"
            for value in (result.largest_error, result.tolerance)
        )
        style = "red" if result.verdict == "FAIL" else ""
        table.add_row(result.case, result.quantity, error, tolerance, result.verdict, style=style)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
