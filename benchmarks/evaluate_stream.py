"""Throughput and memory of `prunegym evaluate` on many small images.

Folders of 1 000, 10 000 and 100 000 images are made of a few pictures by hard links, each with
metadata as `prunegym generate` writes them, and compared in a process of its own whose peak memory
is read from the operating system. Run from the repository's root:

    python benchmarks/evaluate_stream.py --out benchmarks/evaluate_stream.json
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from base.files import write_json

SIDE_PIXELS = 16
PICTURES = 64
STAGES = ("1x1", "2x2", "4x4", "6x6", "8x8")


def make_folder(path: Path, count: int, spread: float) -> None:
    """Write `count` images, all hard links to a few pictures, with metadata and provenance."""
    path.mkdir(parents=True)
    noise = np.random.default_rng(0)
    pictures = []
    for index in range(PICTURES):
        values = np.random.default_rng(index).integers(20, 236, (SIDE_PIXELS, SIDE_PIXELS, 3))
        values = values + noise.normal(0, spread, values.shape) if spread else values
        pictures.append(path.parent / f"{path.name}_{index}.png")
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(pictures[-1])
    ratios = random.Random(0)
    metadata = {}
    for index in range(count):
        os.link(pictures[index % PICTURES], path / f"img_{index:06d}.png")
        decisions = [
            {"stage": stage, "prune_ratio": ratios.choice((0.0, 0.4, 0.7, 1.0)), "guidance": True}
            for stage in STAGES
        ]
        metadata[f"img_{index:06d}"] = {
            "prompt": f"a picture of noise with the number {index}",
            "seed": index,
            "category": f"category {index % 5}",
            "controller": path.name,
            "decisions": decisions,
            "cost_flops": 1e9 * (1 - sum(d["prune_ratio"] for d in decisions) / 8),
            "full_cost_flops": 1e9,
            "latency_ms": 100.0,
        }
    (path / "meta_data.json").write_text(json.dumps(metadata))
    write_json(path / "provenance.json", {"fingerprint": "benchmark", "controller": path.name})


def measure(folder: Path, count: int, metrics: str, workers: int) -> dict[str, Any]:
    """Compare two folders of `count` images; seconds and peak memory of the process."""
    make_folder(folder / "original", count, 0)
    make_folder(folder / "candidate", count, 20)
    command = [sys.executable, "-m", "eval.evaluate_agent", "--orig", str(folder / "original")]
    command += ["--candidate", f"candidate={folder / 'candidate'}", "--out", str(folder / "out")]
    command += ["--metrics", metrics, "--workers", str(workers), "--batch-size", "64"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.perf_counter() - start
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["folders"]["candidate"]["figures"]["psnr"]["n"] == count
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return {
        "images_per_folder": count,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "pairs_per_second": round(count / seconds, 1),
        "pairs_per_cpu_second": round(count / cpu_seconds, 1),
        "peak_memory_mib": round(usage.ru_maxrss / 1024, 1),
    }


def main() -> None:
    """Measure every size and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/evaluate_stream.json"))
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--metrics", default="psnr")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    results = []
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), count, options.metrics, options.workers))
        sys.stdout.write(f"{results[-1]}\n")
    first, last = results[0], results[-1]
    grown = last["peak_memory_mib"] - first["peak_memory_mib"]
    images = 2 * (last["images_per_folder"] - first["images_per_folder"])
    write_json(
        options.out,
        {
            "command": f"python benchmarks/evaluate_stream.py --metrics {options.metrics}",
            "machine": {
                "platform": platform.platform(),
                "cores": os.cpu_count(),
                "load_at_the_end": [round(load, 1) for load in os.getloadavg()],
            },
            "image_side_pixels": SIDE_PIXELS,
            "results": results,
            "growth_kib_per_image": round(grown * 1024 / images, 3) if images else None,
        },
    )


if __name__ == "__main__":
    main()
