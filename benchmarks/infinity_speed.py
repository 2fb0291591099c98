"""How much of the FLOPs that pruning saves is saved in time, on a large model with random weights.

    python -m benchmarks.infinity_speed                  # 125M parameters, 0.06 megapixels
    python -m benchmarks.infinity_speed --size 2b --dtype bfloat16

Measured in one run, in turns, the median of each: every one of the last stages, dense and
under each method and ratio; a whole image dense, against a plain re-statement of the reference
(`benchmarks/plain_reference.py`), which must draw the same bits in float32.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.plain_reference import plain_generate
from benchmarks.record import record
from infinity_backend.architecture import InfinityConfig, VAEConfig
from infinity_backend.config import PipelineConfig, PruningConfig, SamplingConfig
from infinity_backend.cost import stage_flops
from infinity_backend.generate import Stepper
from infinity_backend.request import ImageRequest
from infinity_backend.schedule import official_schedule
from infinity_backend.text import TextCondition
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

SIZES = {
    "125m": InfinityConfig(depth=12, embed_dim=768, num_heads=8, bits=16, block_chunks=4),
    "2b": InfinityConfig(depth=32, embed_dim=2048, num_heads=16, bits=32),
}
METHODS = {
    "fastvar": PruningConfig(),
    "fastvar, no cache": PruningConfig(restore="zero"),
    "fastvar, no code": PruningConfig(restore="no_code"),
    "change": PruningConfig(selection="change"),
}
TEXT_TOKENS = 16
FULL = {"prune_ratio": 0.0, "guidance": True}


def build(size: str, resolution: str, dtype: torch.dtype) -> Stepper:
    """A model with random weights; blocks in `dtype`."""
    schedule, rope_grid = official_schedule(1.0, resolution)
    model = SIZES[size]
    config = PipelineConfig(
        size,
        model,
        VAEConfig(model.bits, base_ch=32, ch_mult=(1, 1, 1, 1, 1)),
        schedule,
        rope_grid,
        SamplingConfig(top_k=1),
    )
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # 2B weights in float32 would not fit beside another model
    transformer = Infinity(model)
    torch.set_default_dtype(default)
    blocks = transformer.block_list()
    narrow = {id(p) for b in blocks for part in (b.sa, b.ca, b.ffn) for p in part.parameters()}
    for parameter in transformer.parameters():
        if id(parameter) not in narrow:
            parameter.data = parameter.data.float()
    return Stepper(transformer.eval().requires_grad_(False), VAE(config.vae).eval(), config)


def with_pruning(stepper: Stepper, pruning: PruningConfig) -> Stepper:
    """The same weights under other settings, with blocks and cache stage that fit the model."""
    depth = stepper.config.infinity.depth
    stage = min(8, stepper.num_stages - 3)
    tokens = stepper.config.schedule[stage][0] * stepper.config.schedule[stage][1]
    fitting = replace(pruning, first_block=3, last_block=min(27, depth - 3), cache_tokens=tokens)
    return replace(stepper, config=replace(stepper.config, pruning=fitting))


def in_turns(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, measured in turns so that a slow moment hits all alike.

    On one thread it is the processor's own time, which what else runs on the machine disturbs less.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if turn:  # the first turn warms up
                times[name].append((clock() - start) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def measure_stages(
    stepper: Stepper,
    text: TextCondition,
    ratios: list[float],
    methods: list[str],
    last: int,
    repeats: int,
) -> list[dict[str, Any]]:
    """Per late stage, method and ratio: ms, FLOPs, and measured saving over FLOP saving."""
    rows: list[dict[str, Any]] = []
    lengths = text.lengths * 2
    states = {
        name: with_pruning(stepper, p).begin([ImageRequest("x")], text)
        for name, p in METHODS.items()
        if name in (*methods, "fastvar")
    }
    for stage in range(stepper.num_stages):
        if stage >= stepper.num_stages - last:
            cases = [("dense", "fastvar", 0.0)]
            cases += [(f"{name} {ratio:g}", name, ratio) for name in methods for ratio in ratios]
            cases += [("skip", "fastvar", 1.0)]
            runs = {
                label: lambda name=name, ratio=ratio: with_pruning(stepper, METHODS[name]).advance(
                    states[name], [{"prune_ratio": ratio, "guidance": True}]
                )
                for label, name, ratio in cases
            }
            times = in_turns(runs, repeats)
            flops = {
                label: 0.0
                if ratio == 1.0
                else stage_flops(
                    with_pruning(stepper, METHODS[name]).config,
                    stage,
                    ratio,
                    [(h * w, h * w) for h, w in stepper.config.schedule[:stage]],
                    lengths,
                    stepper.cfg[stage],
                )
                for label, name, ratio in cases
            }
            for label in runs:
                saved = 1 - flops[label] / flops["dense"]
                measured = 1 - times[label] / times["dense"]
                rows.append(
                    {
                        "stage": "x".join(map(str, stepper.config.schedule[stage])),
                        "decision": label,
                        "ms": times[label],
                        "gflops": flops[label] / 1e9,
                        "flops_saved": saved,
                        "time_saved": measured,
                        "share_realised": measured / saved if saved else None,
                    }
                )
        for name, state in states.items():
            states[name] = with_pruning(stepper, METHODS[name]).advance(state, [FULL])
    return rows


def measure_image(stepper: Stepper, text: TextCondition, repeats: int) -> dict[str, Any]:
    """A whole image dense, without decoding, against the plain re-statement."""

    def ours() -> torch.Tensor:
        state = stepper.begin([ImageRequest("x")], text)
        for _ in range(stepper.num_stages):
            state = stepper.advance(state, [FULL])
        return state.codes

    def plain() -> torch.Tensor:
        return plain_generate(stepper, text)

    differing = float((ours() != plain()).float().mean())
    times = in_turns({"ours": ours, "plain": plain}, repeats)
    return {
        "ms_ours": times["ours"],
        "ms_plain": times["plain"],
        "ours_over_plain": times["ours"] / times["plain"],
        "codes_that_differ": differing,
    }


def main() -> None:
    """Measure, print a table, write `infinity_speed_<size>.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="125m")
    parser.add_argument("--resolution", choices=("0.06M", "0.25M", "0.60M", "1M"), default="0.06M")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.4, 0.7])
    parser.add_argument("--methods", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--last", type=int, default=3, help="how many of the last stages")
    options = parser.parse_args()
    stepper = build(options.size, options.resolution, getattr(torch, options.dtype))
    features = torch.randn(1, TEXT_TOKENS, stepper.config.infinity.text_channels)
    text = TextCondition(features, (TEXT_TOKENS,))
    figures: dict[str, Any] = {"size": options.size, "resolution": options.resolution}
    figures["dtype"] = options.dtype
    figures["clock"] = "processor" if torch.get_num_threads() == 1 else "wall"
    figures["stages"] = measure_stages(
        stepper, text, options.ratios, options.methods, options.last, options.repeats
    )
    figures["image"] = measure_image(stepper, text, options.repeats)
    table = Table("stage", "decision", "ms", "GFLOP", "FLOPs saved", "time saved", "realised")
    for row in figures["stages"]:
        shares = [row["flops_saved"], row["time_saved"], row["share_realised"]]
        shown = ["" if share is None else f"{share:.0%}" for share in shares]
        numbers = [f"{row['ms']:.0f}", f"{row['gflops']:.1f}"]
        table.add_row(row["stage"], row["decision"], *numbers, *shown)
    console = Console()
    console.print(table)
    console.print(figures["image"])
    console.print(str(record(f"infinity_speed_{options.size}", figures)))


if __name__ == "__main__":
    main()
