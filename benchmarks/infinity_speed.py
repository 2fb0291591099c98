"""How much of the FLOPs that pruning saves is saved in time, on a large model with random weights.

    python -m benchmarks.infinity_speed                  # 125M parameters, 0.06 megapixels
    python -m benchmarks.infinity_speed --size 2b --dtype bfloat16 --resolution 0.25M --last 1
    python -m benchmarks.infinity_speed --size 2b --dtype bfloat16 --resolution 1M --device cuda

Measured in one run on the same weights, in turns, the median of each: every one of the last stages
dense, skipped, and under each method and ratio; whole images without decoding: dense, under
schedules of the field, and by a plain re-statement of the reference
(`benchmarks/plain_reference.py`), which must draw the same bits in float32.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from agents.latency import synchronize
from agents.schedules import NAMED, named_schedule
from benchmarks.large_models import SIZES, full_config, random_model, with_pruning
from benchmarks.plain_reference import plain_generate
from benchmarks.record import record
from infinity_backend.cost import stage_flops
from infinity_backend.generate import Stepper
from infinity_backend.request import ImageRequest
from infinity_backend.state import GenerationState
from infinity_backend.text import TextCondition

METHODS: dict[str, dict[str, object]] = {
    "fastvar": {},
    "fastvar, no cache": {"restore": "zero"},
    "fastvar, no code": {"restore": "no_code"},
    "entropy": {"selection": "entropy", "self_attention_share": 0.0},
    "hybrid": {"selection": "hybrid", "self_attention_share": 0.75},
    "change": {"selection": "change"},
}
SCHEDULES = ("fastvar_default", "v3_tokens", "skip_last3")
TEXT_TOKENS = 16
Plan = Sequence[tuple[float, bool]]  # per stage: ratio and guidance


def in_turns(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, measured in turns so that a slow moment hits all alike.

    On one thread of a CPU it is the processor's own time, which what else runs on the machine
    disturbs less.
    """
    one_thread = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = time.process_time if one_thread else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            synchronize()
            start = clock()
            run()
            synchronize()
            if turn:  # the first turn warms up
                times[name].append((clock() - start) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def decide(ratio: float, guidance: bool = True) -> list[dict[str, object]]:
    """The decision about one image."""
    return [{"prune_ratio": ratio, "guidance": guidance}]


def flops_of(stepper: Stepper, plan: Plan) -> list[float]:
    """FLOPs of each stage of one image under a plan, from the first stage on."""
    config, past, flops = stepper.config, [], []
    for stage, (ratio, guidance) in enumerate(plan):
        height, width = config.schedule[stage]
        tokens = height * width
        if ratio == 1.0:
            flops.append(0.0)
            continue
        lengths = (TEXT_TOKENS,) * (2 if guidance else 1)
        flops.append(float(stage_flops(config, stage, ratio, past, lengths, stepper.cfg[stage])))
        past.append((tokens, config.pruning.attended_tokens(tokens, ratio)))
    return flops


def compared(name: str, milliseconds: float, flops: float, dense: tuple[float, float]) -> dict:
    """One row: what was promised and what came, relative to dense (ms, FLOPs)."""
    promised, measured = 1 - flops / dense[1], 1 - milliseconds / dense[0]
    return {
        "decision": name,
        "ms": milliseconds,
        "gflops": flops / 1e9,
        "flops_saved": promised,
        "time_saved": measured,
        "share_realised": measured / promised if promised else None,
    }


def measure_stages(
    stepper: Stepper,
    text: TextCondition,
    ratios: list[float],
    methods: list[str],
    last: int,
    repeats: int,
) -> list[dict[str, Any]]:
    """The last stages after dense ones, skipped and under each method and ratio."""
    cases = {"dense": ("fastvar", 0.0), "skip": ("fastvar", 1.0)}
    cases |= {f"{m} {ratio:g}": (m, ratio) for m in methods for ratio in ratios}
    rows: list[dict[str, Any]] = []
    state = stepper.begin([ImageRequest("x")], text)
    for stage in range(stepper.num_stages):
        if stage >= stepper.num_stages - last:
            rows += measure_stage(stepper, state, cases, repeats)
        state = stepper.advance(state, decide(0.0))
    return rows


def measure_stage(
    stepper: Stepper, state: GenerationState, cases: dict[str, tuple[str, float]], repeats: int
) -> list[dict[str, Any]]:
    """The next stage of a dense state; a case is a method and a ratio."""
    stage = int(state.stage[0])
    runs: dict[str, Callable[[], Any]] = {}
    flops: dict[str, float] = {}
    for name, (method, ratio) in cases.items():
        pruned = with_pruning(stepper, **METHODS[method])
        runs[name] = partial(pruned.advance, state, decide(ratio))
        flops[name] = flops_of(pruned, [(0.0, True)] * stage + [(ratio, True)])[-1]
    times = in_turns(runs, repeats)
    dense, grid = (times["dense"], flops["dense"]), stepper.config.schedule[stage]
    return [
        {"stage": f"{grid[0]}x{grid[1]}"} | compared(name, times[name], flops[name], dense)
        for name in cases
    ]


def generate(stepper: Stepper, text: TextCondition, plan: Plan) -> torch.Tensor:
    """Summed codes of one image under a plan, not decoded."""
    state = stepper.begin([ImageRequest("x")], text)
    for ratio, guidance in plan:
        state = stepper.advance(state, decide(ratio, guidance))
    return state.codes


def measure_images(
    stepper: Stepper, text: TextCondition, schedules: list[str], repeats: int
) -> dict[str, Any]:
    """Whole images without decoding, and the plain re-statement."""
    stages = stepper.num_stages
    plans: dict[str, Plan] = {"dense": [(0.0, True)] * stages}
    plans["dense, no guidance in the last 2"] = [(0.0, s < stages - 2) for s in range(stages)]
    plans |= {name: [(r, True) for r in named_schedule(name, stages)] for name in schedules}
    runs: dict[str, Callable[[], Any]] = {
        name: partial(generate, stepper, text, plan) for name, plan in plans.items()
    }
    runs["plain"] = partial(plain_generate, stepper, text)
    differing = float((runs["dense"]() != runs["plain"]()).float().mean())
    times = in_turns(runs, repeats)
    flops = {name: sum(flops_of(stepper, plan)) for name, plan in plans.items()}
    dense = (times["dense"], flops["dense"])
    return {
        "ms_plain": times["plain"],
        "dense_over_plain": times["dense"] / times["plain"],
        "codes_that_differ": differing,
        "images": [compared(name, times[name], flops[name], dense) for name in plans],
    }


def show(console: Console, rows: list[dict[str, Any]], first: str) -> None:
    """A table of rows as `compared` makes them."""
    table = Table(first, "decision", "ms", "GFLOP", "FLOPs saved", "time saved", "realised")
    for row in rows:
        shares = [row["flops_saved"], row["time_saved"], row["share_realised"]]
        shown = ["" if share is None else f"{share:.0%}" for share in shares]
        numbers = [f"{row['ms']:.0f}", f"{row['gflops']:.1f}"]
        table.add_row(row.get("stage", "image"), row["decision"], *numbers, *shown)
    console.print(table)


def main() -> None:
    """Measure, print tables, write `infinity_speed_<size>.json` (with the device, if no CPU)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="125m")
    parser.add_argument("--resolution", choices=("0.06M", "0.25M", "0.60M", "1M"), default="0.06M")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.4, 0.7])
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--last", type=int, default=3, help="how many of the last stages; or 0")
    parser.add_argument("--schedules", choices=NAMED, nargs="*", default=list(SCHEDULES))
    parser.add_argument("--no-images", action="store_true", help="stages only")
    options = parser.parse_args()
    config = full_config(options.size, options.resolution, small_decoder=True)
    stepper = random_model(config, getattr(torch, options.dtype), options.device)
    features = torch.randn(1, TEXT_TOKENS, config.infinity.text_channels, device=options.device)
    text = TextCondition(features, (TEXT_TOKENS,))
    figures: dict[str, Any] = {name: getattr(options, name) for name in ("size", "resolution")}
    figures |= {"dtype": options.dtype, "device": options.device}
    console = Console()
    figures["stages"] = measure_stages(
        stepper, text, options.ratios, options.methods, options.last, options.repeats
    )
    show(console, figures["stages"], "stage")
    if not options.no_images:
        figures |= measure_images(stepper, text, options.schedules, options.repeats)
        show(console, figures["images"], "image")
        console.print(f"dense takes {figures['dense_over_plain']:.2f} of the plain re-statement")
    name = f"infinity_speed_{options.size}_{options.resolution}"
    if options.device != "cpu":
        name += f"_{torch.cuda.get_device_name(options.device).replace(' ', '_')}"
    console.print(str(record(name, figures)))


if __name__ == "__main__":
    main()
