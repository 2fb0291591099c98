"""The evaluator on the recorded cases, and whether the check notices when it is wrong."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conformance.evaluation import run

CASES = Path(__file__).parents[1] / "data" / "evaluation"
NAMES = list(json.loads((CASES / "expected.json").read_text(encoding="utf-8"))["cases"])


@pytest.fixture(scope="module")
def results():
    return run(CASES)


@pytest.mark.parametrize("case", [*NAMES, "lpips_det_alex_debug"])
def test_recorded_numbers_are_met(results, case):
    own = [result for result in results if result.case == case]
    assert own
    assert [result for result in own if result.verdict != "ok"] == []


def test_clip_images_are_prepared_as_recorded(results):
    own = [result for result in results if result.case.startswith("clip_preprocess")]
    assert len(own) == 20
    assert all(result.verdict == "ok" for result in own)


def test_only_runs_what_is_asked_for():
    assert {result.case for result in run(CASES, re.compile("^03_"))} == {"03_missing_files"}


@pytest.mark.parametrize(
    ("path", "wrong", "quantity"),
    [
        (["pairs", "fast", "ssim_gauss_sigma1.5"], 0.6072934, "ssim"),
        (["pairs", "rl", "psnr"], 28.681, "psnr"),
        (["pairs", "fast", "status"], "no_candidate", "status"),
        (["decode", "rl", "sha256_rgb"], "0" * 64, "pixels"),
        (["files", "rl"], "m4.jpg", "files"),
        (["prompt_by_legacy_rule", "fast"], "m 4", "prompt"),
        (["pairs", "rl", "lpips_det_alex"], None, "lpips_standin: not computed"),
    ],
)
def test_wrong_numbers_are_noticed(tmp_path, path, wrong, quantity):
    expected = json.loads((CASES / "expected.json").read_text(encoding="utf-8"))
    case = expected["cases"]["03_missing_files"]
    *place, last = path
    target = case["rows"]["m4"]
    for name in place:
        target = target[name]
    target[last] = wrong
    shutil.copytree(CASES / "03_missing_files", tmp_path / "03_missing_files")
    (tmp_path / "expected.json").write_text(json.dumps({"cases": {"03_missing_files": case}}))
    failed = {result.quantity for result in run(tmp_path) if result.verdict == "FAIL"}
    assert quantity in failed
