"""Pairs a second of the evaluator's cheap metrics against a plain loop over scikit-image.

Both decode the same PNG files and compute PSNR and SSIM (Gaussian window 11). The evaluator's row
`all cheap` also hashes the files, detects equal images, computes two capped forms of PSNR, mean
squared and mean absolute error, as a run with `--metrics ssim,psnr,mse,mae` does. Rounds alternate.
Run from the repository's root:

    OMP_NUM_THREADS=1 python -m benchmarks.evaluate_speed
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.record import record
from eval.comparison import plan_comparison
from eval.metrics.registry import MetricSettings, make_metrics
from eval.scoring import ScoringSettings, score_images


def write_folder(path: Path, count: int, side: int, spread: float) -> None:
    """Write smooth pictures with some noise, as PNG."""
    path.mkdir()
    y, x = np.mgrid[0:side, 0:side] / side
    for index in range(count):
        random = np.random.default_rng(index)
        waves = np.stack([np.sin((3 + index % 5) * k * (x + k * y)) for k in (1, 2, 3)], axis=-1)
        noise = random.normal(0, 4 + spread, waves.shape)
        pixels = np.clip(127.5 + 100 * waves + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path / f"{index:04d}.png", compress_level=3)


def plain_loop(original: Path, candidate: Path) -> float:
    """What a script of ten lines does; gives the mean SSIM."""
    values = []
    for file in sorted(original.iterdir()):
        a, b = (np.asarray(Image.open(folder / file.name)) for folder in (original, candidate))
        peak_signal_noise_ratio(a, b, data_range=255)
        values.append(
            structural_similarity(
                a,
                b,
                channel_axis=2,
                data_range=255,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
        )
    return statistics.mean(values)


def evaluator(original: Path, candidate: Path, names: list[str], workers: int) -> float:
    """The same through `score_images`; gives the mean SSIM."""
    metrics, _ = make_metrics(names, MetricSettings())
    comparison = plan_comparison(original, {"candidate": candidate})
    batches = score_images(comparison, metrics, ScoringSettings(workers=workers))
    scores = [score for batch in batches for score in batch if score.folder == "candidate"]
    return statistics.mean(score.values["ssim"] or 0.0 for score in scores)


def timed(function: Callable[[], float], count: int) -> tuple[float, float, float]:
    """The result, pairs a second, and pairs a second of processor time."""
    start, processor = time.perf_counter(), time.process_time()
    result = function()
    seconds, spent = time.perf_counter() - start, time.process_time() - processor
    return result, count / seconds, count / spent


def measure(side: int, count: int, rounds: int) -> dict[str, Any]:
    """Medians over rounds of both, and of the ratio within each round."""
    with tempfile.TemporaryDirectory() as root:
        original, candidate = Path(root, "original"), Path(root, "candidate")
        write_folder(original, count, side, 0)
        write_folder(candidate, count, side, 6)
        ways: dict[str, Callable[[], float]] = {
            "plain loop": lambda: plain_loop(original, candidate),
            "ssim,psnr": lambda: evaluator(original, candidate, ["ssim", "psnr"], 2),
            "all cheap": lambda: evaluator(original, candidate, ["ssim", "psnr", "mse", "mae"], 2),
        }
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for way in ways.values():
            timed(way, count)  # warm
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(timed(way, count))
    plain = found["plain loop"]
    assert all(abs(runs[0][0] - plain[0][0]) < 1e-9 for runs in found.values())
    return {
        name: {
            "pairs_per_second": round(statistics.median(run[1] for run in runs), 2),
            "pairs_per_processor_second": round(statistics.median(run[2] for run in runs), 2),
            "times_the_plain_loop": round(
                statistics.median(a[1] / b[1] for a, b in zip(runs, plain, strict=True)), 2
            ),
            "times_the_plain_loop_by_processor_time": round(
                statistics.median(a[2] / b[2] for a, b in zip(runs, plain, strict=True)), 2
            ),
        }
        for name, runs in found.items()
    }


def main() -> None:
    """Measure images of two sizes and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 1024])
    options = parser.parse_args()
    counts = {side: max(8, 2**22 // side**2) for side in options.sides}
    record(
        "evaluate_speed",
        {
            f"{side}x{side}": {
                "pairs": counts[side],
                "rounds": options.rounds,
                **measure(side, counts[side], options.rounds),
            }
            for side in options.sides
        },
    )


if __name__ == "__main__":
    main()
