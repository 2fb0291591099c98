"""Every recorded sign case under tests/data holds, and the runner says so when one does not."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conformance import sign
from tests.conformance.__main__ import main

DATA = Path(__file__).parents[1] / "data/sign"


def test_every_case_holds() -> None:
    results = sign.run(DATA)
    assert len({result.case for result in results}) == 5
    assert {result.verdict for result in results} == {"ok"}, results


def test_the_runner_sees_a_wrong_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cases"
    shutil.copytree(DATA, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["cases"]["keypoints_current"]["inverse_aspect_ratio"] = 0.5626
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["sign", str(folder), "--only", "keypoints_current"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_an_unknown_kind_of_case_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {"later": {"kind": "of another day"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"cases": cases}))
    assert main(["sign", str(tmp_path)]) == 0
    assert "1 not run" in capsys.readouterr().out
