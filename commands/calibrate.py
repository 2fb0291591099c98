"""`prunegym calibrate`: measure the milliseconds of each stage and decision on this device."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from commands.wiring import choose_device, load_generator, load_prompts, make_requests


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym calibrate", description=__doc__)
    parser.add_argument("--generator", type=str, default="scenes", help="scenes, toy or a folder")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--prompts", type=str | None, default=None, help="as for generate; the batch that is timed"
    )
    parser.add_argument("--batch-size", type=int, default=1, help="prompts timed together")
    parser.add_argument("--repeats", type=int, default=10, help="timed runs of each stage")
    parser.add_argument("--warm-up", type=int, default=2, help="runs before that are not counted")
    parser.add_argument("--out", type=str, default="latency.json", help="file for the table")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0."""
    options = make_parser().parse_args(args)

    from rich.console import Console
    from rich.table import Table

    from agents.latency import measure_latency
    from base.files import write_json

    world = "toy" if options.generator == "toy" else "scenes"
    prompts = load_prompts(options.prompts or f"{world}:validation:{options.batch_size}")
    device = choose_device(options.device)
    generator = load_generator(options.generator, device)
    requests = make_requests(generator, prompts[: options.batch_size])
    console = Console()
    with console.status("warming up") as status:
        table = measure_latency(
            generator,
            requests,
            options.repeats,
            options.warm_up,
            device,
            on_stage=lambda stage: status.update(f"stage {stage}"),
        )
    write_json(Path(options.out), table)
    shown = Table(title=f"milliseconds an image, batch {table['batch_size']}, {table['device']}")
    for column in ("stage", "decision", "median", "10 %", "90 %"):
        shown.add_column(column, justify="left" if column in ("stage", "decision") else "right")
    fixed = [(name, "", table[name]) for name in ("begin", "features", "decision", "finish")]
    stages = [(row["stage"], str(row["decision"]), row) for row in table["stages"]]
    for stage, decision, row in [*fixed[:1], *stages, *fixed[1:]]:
        times = [row[name] for name in ("median_ms", "percentile_10_ms", "percentile_90_ms")]
        shown.add_row(stage, decision, *(f"{time:.2f}" for time in times))
    console.print(shown)
    print(f"table: {options.out}")
    return 0
