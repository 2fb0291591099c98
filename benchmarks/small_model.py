"""How fast the small model draws, and how far its rows are independent of each other.

    python -m benchmarks.small_model

Measured in one run: milliseconds an image with nothing pruned and under mixed decisions, at batch
16 and 1; the share of 200 requests that are bit-identical between the two; and a tree of 32 leaves
over the last three stages against 32 runs from the start, in time and in memory.
"""

import logging
import statistics
import time
from typing import Any

import numpy as np
import torch
from rich.console import Console

from base.decisions import Decision
from benchmarks.record import record
from infinity_backend.generator import InfinityGenerator
from infinity_backend.request import ImageRequest
from scenes.world import prompts

Plan = list[list[Decision]]  # [stage][row]


def run(generator: InfinityGenerator, rows: list[ImageRequest], plan: Plan) -> tuple[Any, float]:
    """The finished state, and seconds with decoding."""
    start = time.perf_counter()
    state = generator.begin(rows)
    for decisions in plan:
        state = generator.advance(state, decisions)
    generator.finish(state)
    return state, time.perf_counter() - start


def milliseconds(generator: InfinityGenerator, rows: list[ImageRequest], plan: Plan) -> float:
    """Median of five runs after a warm-up, per image."""
    run(generator, rows, plan)
    return statistics.median(run(generator, rows, plan)[1] for _ in range(5)) * 1000 / len(rows)


def mixed_plan(generator: InfinityGenerator, count: int) -> Plan:
    """Every row its own decisions at every stage but the first."""
    stream, menu = np.random.default_rng(0), generator.decision_space.menu
    return [
        [menu[stream.integers(len(menu)) if stage else 0] for _ in range(count)]
        for stage in range(generator.max_stages)
    ]


def speed(generator: InfinityGenerator, rows: list[ImageRequest]) -> dict[str, float]:
    """Milliseconds an image."""
    figures = {}
    for name, plan in {
        "full": [[generator.decision_space.menu[0]] * 16] * generator.max_stages,
        "mixed": mixed_plan(generator, 16),
    }.items():
        for batch in (16, 1):
            part = [decisions[:batch] for decisions in plan]
            figures[f"{name}_batch{batch}_ms"] = milliseconds(generator, rows[:batch], part)
    return figures


def independence(generator: InfinityGenerator, rows: list[ImageRequest]) -> dict[str, float]:
    """Share of requests with the same bits in a batch of 16 and alone, under mixed decisions."""
    plan = mixed_plan(generator, len(rows))
    same = 0
    for start in range(0, len(rows), 16):
        part = rows[start : start + 16]
        together, _ = run(generator, part, [stage[start : start + 16] for stage in plan])
        for index, request in enumerate(part):
            alone, _ = run(generator, [request], [[stage[start + index]] for stage in plan])
            same += torch.equal(together.codes[index], alone.codes[0])
    return {"requests": len(rows), "bit_identical_share": same / len(rows)}


def tree(generator: InfinityGenerator, request: ImageRequest) -> dict[str, float]:
    """32 leaves that differ in the last three stages: forked, against 32 runs from the start."""
    menu, stages = generator.decision_space.menu, generator.max_stages
    leaves = [[menu[(leaf >> shift) % 4] for leaf in range(32)] for shift in (0, 2, 4)]
    whole: Plan = [[menu[0]] * 32] * (stages - 3) + leaves

    def forked() -> float:
        start = time.perf_counter()
        state = generator.begin([request])
        for _ in range(stages - 3):
            state = generator.advance(state, [menu[0]])
        state = generator.fork(state, [0] * 32)
        for decisions in leaves:
            state = generator.advance(state, decisions)
        generator.finish(state)
        return time.perf_counter() - start

    def apart() -> float:
        return run(generator, [request] * 32, whole)[1]

    def one_by_one() -> float:
        each = [[[stage[leaf]] for stage in whole] for leaf in range(32)]
        return sum(run(generator, [request], plan)[1] for plan in each)

    forked(), apart()
    ratios = [forked() / apart() for _ in range(5)]
    return {
        "tree_over_batch_of_32_full_runs": statistics.median(ratios),
        "tree_over_32_single_full_runs": statistics.median(forked() / one_by_one() for _ in (0, 1)),
    }


def main() -> None:
    """Measure, print, write `small_model.json`."""
    logging.basicConfig(level=logging.WARNING)
    generator = InfinityGenerator.from_pretrained("scenes")
    rows = [ImageRequest(scene.caption, seed) for seed, scene in enumerate(prompts("test", 200))]
    figures = {
        "fingerprint": generator.fingerprint,
        **speed(generator, rows),
        **independence(generator, rows),
        **tree(generator, rows[0]),
    }
    console = Console()
    console.print(figures)
    console.print(f"written to {record('small_model', figures)}")


if __name__ == "__main__":
    main()
