"""Every recorded 4M case under tests/data holds, and the runner says so when one does not."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conformance import fourm
from tests.conformance.__main__ import main

DATA = Path(__file__).parents[1] / "data/fourm"


def test_every_case_holds() -> None:
    results = fourm.run(DATA)
    assert len({result.case for result in results}) == 16
    assert {result.verdict for result in results} == {"ok"}, results


def test_the_runner_sees_a_wrong_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cases"
    shutil.copytree(DATA, folder)
    manifest = json.loads((folder / "manifest_4m.json").read_text())
    manifest["generation"][0]["cases"]["roar_seeded_t2cr"]["schedule"][0]["cfg_scale"] = 3.01
    (folder / "manifest_4m.json").write_text(json.dumps(manifest))
    assert main(["fourm", str(folder), "--only", "roar_seeded_t2cr"]) == 1
    assert "FAIL" in capsys.readouterr().out
