"""`prunegym embed` with two trackers on two cores against one process pinned to one core.

    make setup-sign && python -m benchmarks.sign_speed

Four videos (64 frames of 640x480 each, the drawn signer of the tests), keypoints not kept, model
PoseFormer 4x8 with D 192 and random weights. Measured in turns in one run, the workers started
beforehand; both must write the same bits. The processor's time is recorded beside the clock's: on a
machine that nothing else uses, one process needs its `cpu_s` and two need half of theirs.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.record import record
from sign_backend.checkpoint import SignModel, build_model
from sign_backend.config import SignConfig
from sign_backend.dataset import find_clips
from sign_backend.mediapipe_source import MediaPipeSource
from sign_backend.predict import PredictSettings, predict
from sign_backend.results import ResultFolder

VIDEO = Path(__file__).parents[1] / "tests" / "data" / "sign" / "mediapipe_signer.mp4"
CORES = sorted(os.sched_getaffinity(0))[:2]


def make_model() -> SignModel:
    """The size of the released models, NGT's number of glosses."""
    torch.manual_seed(0)
    config = SignConfig("PoseFormer", 4, 8, 192, (458,), source_aspect_ratio=(0.75,))
    return build_model(config).eval().requires_grad_(False)


def embed_folder(
    model: SignModel, source: MediaPipeSource, videos: Path, out: Path, workers: int
) -> dict[str, np.ndarray[Any, Any]]:
    """One run of the predictor on as many cores as workers; the arrays that it wrote."""
    os.sched_setaffinity(0, CORES[:workers])  # workers that start now are bound to them, too
    shutil.rmtree(out, ignore_errors=True)
    with ResultFolder(out, {}) as results:
        settings = PredictSettings("temporal", workers=workers)
        predict(model, source, find_clips(videos), results, settings)
    if results.failed:
        raise SystemExit(f"clips failed: {results.failed}")
    return {path.name: np.load(path) for path in sorted(out.glob("*.npy"))}


def cpu_seconds() -> float:
    """What this process and its living children have used so far; Linux."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that has ended meanwhile
            fields = process.read_text().rpartition(")")[2].split()
            if os.getpid() in (int(process.parent.name), int(fields[1])):
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = make_model()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    arrays: list[dict[str, np.ndarray[Any, Any]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        for number in range(options.videos):
            shutil.copy(VIDEO, folder / f"videos/{number}.mp4")
        sources = {workers: MediaPipeSource(keep=False) for workers in seconds}
        for turn in range(options.repeats + 1):  # the first one starts workers and is not counted
            for workers, source in sources.items():
                start, cpu_start = time.perf_counter(), cpu_seconds()
                made = embed_folder(model, source, folder / "videos", folder / "out", workers)
                if turn:
                    seconds[workers].append(time.perf_counter() - start)
                    cpu[workers].append(cpu_seconds() - cpu_start)
                arrays.append(made)
        for source in sources.values():
            source.close()
    same = all(
        made.keys() == arrays[0].keys()
        and all(np.array_equal(made[name], arrays[0][name]) for name in made)
        for made in arrays
    )
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    frames = sum(len(values) for values in arrays[0].values())
    figures = {
        "videos": options.videos,
        "frames": frames,
        "one_process_one_core_s": seconds[1],
        "two_processes_two_cores_s": seconds[2],
        "one_process_one_core_cpu_s": cpu[1],
        "two_processes_two_cores_cpu_s": cpu[2],
        "speedup_of_each_turn": ratios,
        "speedup_median": statistics.median(ratios),
        "speedup_by_processor_time": 2 * statistics.median(cpu[1]) / statistics.median(cpu[2]),
        "same_bits": same,
        "load_average_1_min": os.getloadavg()[0],
    }
    path = record("sign_speed", figures)
    Console().print(f"{figures['speedup_median']:.2f} times as fast, same bits: {same} ({path})")


if __name__ == "__main__":
    main()
