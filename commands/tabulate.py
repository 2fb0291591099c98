"""`prunegym tabulate`: every schedule of the menu on the last stages, measured once, in one file.

`--generator table:FILE` then stands for the generator in `train` and in
`gymnasium.make("prunegym/InfinityPruning-v0", generator="table:FILE", ...)`, at thousands of steps
a second. Stopped, it goes on where it was when the same command is given again.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser

from commands.wiring import (
    choose_device,
    load_generator,
    load_prompts,
    load_scorers,
    make_requests,
)


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym tabulate", description=__doc__)
    parser.add_argument(
        "--prompts",
        type=str | list[str],
        default=["scenes:train:512", "scenes:validation:64"],
        help="files, or scenes:SPLIT:COUNT; all go into one table",
    )
    parser.add_argument("--seed", type=int, default=0, help="first seed of prompts without one")
    parser.add_argument("--out", type=str, required=True, help="file for the table (.npz)")
    parser.add_argument("--generator", type=str, default="scenes", help="scenes, toy or a folder")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--num-stages",
        type=int,
        default=4,
        help="last stages that are decided: n^stages outputs each",
    )
    parser.add_argument(
        "--menu",
        type=list[dict[str, float | bool | str]],
        help="the n decisions, such as '[{prune_ratio: 0.0}, {prune_ratio: 1.0}]'; "
        "default: the generator's own",
    )
    parser.add_argument(
        "--metrics",
        type=list[str],
        default=[],
        help="further figures of every image beside ssim and psnr, such as '[lpips, clip]'",
    )
    parser.add_argument(
        "--latency-table",
        type=str | None,
        default=None,
        help="written by prunegym calibrate: the table then also knows milliseconds",
    )
    parser.add_argument("--batch-size", type=int, default=8, help="requests that grow together")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0."""
    options = make_parser().parse_args(args)

    from agents.latency import LatencyTable
    from base.files import read_json
    from commands.progress import progress_bar
    from envs.decision_table import save_table
    from envs.references import ReferenceCache
    from envs.tabulate import tabulate

    device = choose_device(options.device)
    generator = load_generator(options.generator, device)
    named = [options.prompts] if isinstance(options.prompts, str) else options.prompts
    prompts = [prompt for text in named for prompt in load_prompts(text, options.seed)]
    requests = make_requests(generator, prompts)
    latency = None
    if options.latency_table:
        LatencyTable(options.latency_table, generator)  # refused now, not after hours
        latency = read_json(options.latency_table)
    parts_folder = Path(f"{options.out}.parts")  # an interrupted run goes on from here
    with progress_bar() as bar:
        task = bar.add_task("requests", total=len(requests), note=f"{options.num_stages} stages")
        table = tabulate(
            generator,
            requests,
            ReferenceCache(),
            num_stages=options.num_stages,
            batch_size=options.batch_size,
            on_batch=lambda done: bar.update(task, completed=done),
            menu=options.menu,
            parts_folder=parts_folder,
            scorers=load_scorers(options.metrics, options.generator, device),
        )
    path = save_table(options.out, replace(table, latency=latency))
    shutil.rmtree(parts_folder)
    leaves = next(iter(table.figures.values())).size
    print(
        f"{leaves} outputs of {len(requests)} requests, decided from stage {table.first_stage} on: "
        f"{path}, {path.stat().st_size / 2**20:.1f} MB"
    )
    print(
        f"train on it: --generator table:{path} "
        f"--environment.first_controlled_stage {table.first_stage}"
    )
    return 0
