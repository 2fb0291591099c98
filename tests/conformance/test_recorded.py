"""Every recorded case under tests/data holds, and the runner says so when one does not."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conformance import infinity, predecessor
from tests.conformance.__main__ import main

DATA = Path(__file__).parents[1] / "data"
CASES = sorted(json.loads((DATA / "infinity/manifest.json").read_text())["cases"])


@pytest.mark.parametrize("case", CASES)
def test_infinity_case(case: str) -> None:
    results = infinity.run(DATA / "infinity", re.compile(f"^{re.escape(case)}$"))
    assert results and {result.verdict for result in results} == {"ok"}, results


def test_predecessor_numbers() -> None:
    results = predecessor.run(DATA / "predecessor")
    assert len(results) > 20 and {result.verdict for result in results} == {"ok"}, results


def test_the_runner_sees_a_wrong_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cases"
    shutil.copytree(DATA / "infinity", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["cases"]["tiny2b/ar_nocfg"]["call"]["tau"] = 1.001
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["infinity", str(folder), "--only", "ar_nocfg"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_the_runner_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infinity", str(tmp_path / "none")]) == 3
    assert "is not a folder" in capsys.readouterr().err
