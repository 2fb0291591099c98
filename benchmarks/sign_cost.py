"""What a frame costs: `python -m benchmarks.sign_cost` (needs MediaPipe: `make setup-sign`).

CPU time of one core, all parts in turn in each round, medians of rounds; 64 frames of 640x480, in
which a body, a face and mostly both hands are found (`tests/data/sign/mediapipe_signer.mp4`).
Writes the table that `sign_backend.keypoint_cost` charges by.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from base.files import write_json
from benchmarks.record import record
from sign_backend.cost import poseformer_flops
from sign_backend.embed import embed, prepare
from sign_backend.keypoint_cost import TABLE
from sign_backend.mediapipe_source import MediaPipeSource
from sign_backend.motion import motion
from sign_backend.pretrained import SIGNERS, load_folder

VIDEO = Path(__file__).parents[1] / "tests" / "data" / "sign" / "mediapipe_signer.mp4"


def run(rounds: int = 5, out: Path = TABLE) -> None:
    """Measure, write the table, and the record.

    Args:
        rounds: of each part.
        out: the table.
    """
    torch.set_num_threads(1)
    source, model = MediaPipeSource(keep=False), load_folder(SIGNERS)
    frames, keypoints = source.read(VIDEO), source.extract(VIDEO)
    clip = prepare(keypoints, model.config)
    worker = source.worker_process_id()

    def of_worker(work: Callable[[], object]) -> float:
        before = _cpu_seconds(worker)
        work()
        return _cpu_seconds(worker) - before

    def of_this(work: Callable[[], object]) -> float:
        before = time.process_time()
        work()
        return time.process_time() - before

    parts: dict[str, list[float]] = {"read": [], "extract": [], "motion": [], "model": []}
    for _ in range(rounds):
        parts["read"].append(of_worker(lambda: source.read(VIDEO)))
        parts["extract"].append(of_worker(lambda: source.extract(VIDEO)))
        parts["motion"].append(of_this(lambda: motion(frames)))
        parts["model"].append(
            of_this(lambda: [embed(model, [clip], "CLS") for _ in range(20)]) / 20
        )
    source.close()
    ms = {name: 1e3 * statistics.median(each) / len(frames) for name, each in parts.items()}
    flops = poseformer_flops(model.config, len(frames)) / len(frames)
    table = {
        "read_ms": ms["read"],
        "motion_ms": ms["motion"],
        "track_ms": ms["extract"] - ms["read"],
        "flops_per_ms": flops / ms["model"],
    }
    table = {
        name: float(np.format_float_positional(v, 4, fractional=False)) for name, v in table.items()
    }
    write_json(out, table | {"of": "a frame of 640x480; `python -m benchmarks.sign_cost`"})
    spread = {n: [1e3 * v / len(frames) for v in (min(p), max(p))] for n, p in parts.items()}
    record(
        "sign_cost",
        {"table": table, "model_ms": ms["model"], "model_flops": flops, "spread_ms": spread},
    )


def _cpu_seconds(process_id: int) -> float:
    """User and system time of a process, all of its threads; Linux."""
    after_name = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    auto_cli(run)
