"""The evaluator against recorded numbers, case by case.

A folder holds `expected.json` and, for each case that it names, `<case>/orig` and candidate folders
such as `<case>/fast`. Checked are the files matched, the decoded pixels, prompts, statuses, every
metric of every pair, and the summaries. Tolerances: psnr 1e-4 dB, ssim 1e-6, LPIPS and MS-SSIM
1e-5; where another JPEG decoder gave other pixels, psnr 0.1 dB and ssim 0.005.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from base.torchvision_stub import import_torchvision
from eval.comparison import ORIGINAL, Comparison, plan_comparison
from eval.images import decode
from eval.measure import Sample, measure
from eval.metadata import read_metadata
from eval.metrics.lpips import Lpips
from eval.metrics.protocol import Metric
from eval.metrics.registry import MetricSettings, make_metrics
from eval.prompts import prompt_in
from eval.scoring import OK, Score, ScoringSettings, score_images
from eval.statistics import summarise
from tests.conformance.checks import Checks
from tests.conformance.result import CaseResult

FILES = "expected.json, <case>/orig/, <case>/<candidate>/"

OUR_NAMES = {  # theirs: ours
    "mse": "mse",
    "mae": "mae",
    "max_abs": "max_abs",
    "psnr": "psnr",
    "psnr_capped100": "psnr_capped100",
    "ssim_w3_uniform": "ssim_legacy3",
    "ssim_w7_uniform": "ssim_uniform7",
    "ssim_gauss_sigma1.5": "ssim",
    "lpips_det_alex": "lpips_standin",
    "ms_ssim": "ms_ssim",
}
EXACT = {"ssim": 1e-6, "psnr": 1e-4, "lpips": 1e-5, "ms_ssim": 1e-5, "mse": 1e-3, "m": 1e-4}
OTHER_DECODER = {"ssim": 0.005, "psnr": 0.1, "lpips": 0.005, "ms_ssim": 0.005, "m": float("inf")}
RESIZED = {"ssim": 0.001, "psnr": 0.02, "lpips": 0.001, "m": float("inf")}


def run(folder: Path, only: re.Pattern[str] | None = None) -> list[CaseResult]:
    """Run every case of the folder whose name matches `only`."""
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    metrics = all_metrics()
    results: list[CaseResult] = []
    runs: dict[str, Callable[[Checks], None]] = {
        name: partial(run_case, folder / name, case, metrics)
        for name, case in expected["cases"].items()
    }
    if "lpips_det_alex_debug" in expected:
        runs["lpips_det_alex_debug"] = partial(run_lpips, folder, expected["lpips_det_alex_debug"])
    for name, prepared in expected.get("clip_preprocess", {}).items():
        runs[f"clip_preprocess {name}"] = partial(run_clip_preparation, folder / name, prepared)
    for name, runner in runs.items():
        if only is None or only.search(name):
            checks = Checks(name)
            runner(checks)
            results += checks.results.values()
    return results


@cache
def all_metrics() -> list[Metric]:
    """Every metric that the recorded numbers know."""
    names = ["ssim", "psnr", "lpips", "ms_ssim", "mse", "mae", "max_abs"]
    metrics, _ = make_metrics(names, MetricSettings(lpips_trunk="stand-in"))
    for window in ("uniform7", "legacy3"):
        metrics += make_metrics(["ssim"], MetricSettings(ssim_window=window))[0]
    return metrics


def run_case(folder: Path, case: dict[str, Any], metrics: list[Metric], checks: Checks) -> None:
    """One case: what `prunegym evaluate` finds in its folders."""
    rows = case["rows"]
    names = sorted({name for row in rows.values() for name in row["pairs"]})
    comparison = plan_comparison(
        folder / "orig", {name: folder / name for name in names}, allow_mismatch=True
    )
    scores = [s for part in score_images(comparison, metrics, ScoringSettings()) for s in part]
    by_place = {(score.folder, score.key): score for score in scores}
    same(checks, "keys", set(comparison.keys), set(rows))
    for key in sorted(rows.keys() & set(comparison.keys)):
        row = rows[key]
        exact = check_files(comparison, key, row, checks)
        for name, pair in row["pairs"].items():
            check_pair(comparison, by_place[(name, key)], pair, exact, metrics, checks)
    for name, summary in case.get("summary", {}).items():
        check_summary([score for score in scores if score.folder == name], summary, checks)


def check_files(
    comparison: Comparison, key: str, row: dict[str, Any], checks: Checks
) -> dict[str, bool]:
    """Files, pixels and prompts of one key; returns for each folder whether pixels are exact."""
    exact = {}
    for place, file in row["files"].items():
        name = ORIGINAL if place == "orig" else place
        folder = comparison.folders[name]
        found = folder.images.get(key)
        relative = found.relative_to(folder.path).as_posix() if found else None
        same(checks, "files", composed(relative), composed(file))
        if found is None or file is None:
            continue
        decoded, recorded = decode(found), row["decode"][place]
        same(checks, "readable", decoded.pixels is not None, recorded["ok"])
        if decoded.pixels is not None and recorded["ok"]:
            same(checks, "size", decoded.pixels.shape[1::-1], (recorded["w"], recorded["h"]))
            sha256 = hashlib.sha256(decoded.pixels.tobytes()).hexdigest()
            exact[name] = sha256 == recorded["sha256_rgb"]
            if not decoded.lossy:
                same(checks, "pixels", exact[name], True)
        check_prompt(comparison, name, key, row.get("prompt_by_legacy_rule", {}).get(place), checks)
    return exact


def check_prompt(
    comparison: Comparison, name: str, key: str, legacy: str | None, checks: Checks
) -> None:
    """The prompt of a folder, where the historical rule knew the shape of its metadata."""
    folder = comparison.folders[name]
    prompt = prompt_in(read_metadata(folder), key)
    known_shape = prompt is None or prompt.source in ("meta_data.json", "metadata.json")
    if legacy is not None and folder.layout == "flat" and known_shape:
        text = prompt.text if prompt else key.replace("_", " ")
        same(checks, "prompt", composed(text), composed(legacy))


def check_pair(
    comparison: Comparison,
    score: Score,
    pair: dict[str, Any],
    exact: dict[str, bool],
    metrics: list[Metric],
    checks: Checks,
) -> None:
    """Status and metrics of a pair, and its variants by resizing and by alpha."""
    same(checks, "status", score.status, pair["status"])
    if score.status == pair["status"] == OK:
        both_exact = exact.get(score.folder, False) and exact.get(ORIGINAL, False)
        check_values(score.values, pair, "" if both_exact else "other decoder", checks)
    variants = {}
    for name in pair.get("candidate_resized_to_reference", {}):
        if name.startswith("pil_"):
            variants[name] = ScoringSettings(
                on_size_mismatch="resize", resize_filter=name.removeprefix("pil_")
            )
    for name in pair.get("alpha_variants", {}):
        variants[name] = ScoringSettings(alpha=name.removeprefix("over_"))
    expected = pair.get("candidate_resized_to_reference", {}) | pair.get("alpha_variants", {})
    for name, settings in variants.items():
        one = restricted(comparison, score.folder, score.key)
        (found,) = [
            s
            for part in score_images(one, metrics, settings)
            for s in part
            if s.folder == score.folder
        ]
        check_values(found.values, expected[name], "resized" if "pil" in name else name, checks)


def restricted(comparison: Comparison, folder: str, key: str) -> Comparison:
    """The same comparison with one candidate and one image only."""
    folders = {name: comparison.folders[name] for name in (ORIGINAL, folder)}
    return Comparison(folders, (key,), comparison.prompts, {}, comparison.compute, {}, ())


def check_values(
    found: dict[str, float | None], expected: dict[str, Any], variant: str, checks: Checks
) -> None:
    """Each metric that is recorded; one that is recorded as null must not be computed."""
    table = {"other decoder": OTHER_DECODER, "resized": RESIZED}.get(variant, EXACT)
    for theirs, ours in OUR_NAMES.items():
        if theirs not in expected:
            continue
        tolerance = next(value for start, value in table.items() if ours.startswith(start))
        quantity = f"{ours} ({variant})" if variant else ours
        if found[ours] is None or expected[theirs] is None:
            same(checks, f"{quantity}: not computed", found[ours], expected[theirs])
        else:
            near = number(found[ours]), number(expected[theirs])
            checks.near(quantity, *near, tolerance)


def check_summary(scores: list[Score], expected: dict[str, Any], checks: Checks) -> None:
    """Counts, and mean, standard deviation and median of each metric over a candidate's pairs."""
    counts = Counter(score.status for score in scores)
    same(checks, "summary: statuses", dict(counts), expected["status_counts"])
    for theirs, ours in OUR_NAMES.items():
        if theirs not in expected:
            continue
        values = [score.values[ours] for score in scores if score.values[ours] is not None]
        found = summarise(np.array(values), resamples=0, seed=0)
        same(checks, "summary: n", found["n"], expected[theirs]["n"])
        tolerance = 10 * next(value for start, value in EXACT.items() if ours.startswith(start))
        for statistic, recorded in (("mean", "mean"), ("std", "std_pop"), ("median", "median")):
            if expected[theirs].get(recorded) is not None:
                numbers = number(found[statistic]), number(expected[theirs][recorded])
                checks.near(f"summary: {ours}", *numbers, tolerance)


def run_lpips(folder: Path, expected: dict[str, Any], checks: Checks) -> None:
    """LPIPS of the stand-in trunk for the pair `<case> <key> <folder> vs <folder>`."""
    case, key, first, _, second = expected["pair"].split()
    metric = Lpips(trunk="stand-in")
    images = []
    for name in (first, second):
        (file,) = (folder / case / name).glob(f"{key}.*")
        images.append(decode(file).pixels)
    for quantity, reference in (("total", images[1]), ("self", images[0])):
        sample = Sample(images[0], reference, "")
        measure([sample], [metric], "cpu")
        value = number(sample.values[metric.name])
        checks.near(quantity, value, number(expected[quantity]), 1e-5)


def run_clip_preparation(path: Path, expected: dict[str, Any], checks: Checks) -> None:
    """What open_clip's official model gets to see of an image."""
    import_torchvision()
    import open_clip

    prepare = open_clip.image_transform(
        (224, 224),
        is_train=False,
        mean=open_clip.OPENAI_DATASET_MEAN,
        std=open_clip.OPENAI_DATASET_STD,
    )
    pixels = prepare(Image.open(path).convert("RGB"))
    same(checks, "shape", list(pixels.shape), expected["shape"])
    channels = pixels.flatten(1).double()
    checks.near("mean", channels.mean(1), number(expected["mean"]), 2e-3)
    checks.near("std", channels.std(1, correction=0), number(expected["std_pop"]), 2e-3)
    for *place, value in expected["samples"]:
        checks.near("samples", pixels[tuple(place)], number(value), 2e-3)


def same(checks: Checks, quantity: str, got: object, expected: object) -> None:
    """Count a difference between two plain values."""
    checks.equal(quantity, torch.tensor([got == expected]), torch.tensor([True]))


def number(value: Any) -> torch.Tensor:
    """Plain numbers in double precision."""
    return torch.as_tensor(value, dtype=torch.float64)


def composed(text: str | None) -> str | None:
    """Text in Unicode form NFC: file systems differ in the form that they give back."""
    return None if text is None else unicodedata.normalize("NFC", text)
