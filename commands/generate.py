"""`prunegym generate`: make a folder of images under a controller."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from commands.wiring import choose_device, load_generator, load_prompts, make_requests

CONTROLLERS = """none, schedule:8:0.4,12:0.5,16:1.0 (stage width : share left out, 1 skips),
policy:RUN_FOLDER (@0.3: weight of compute, where it was trained for a range),
python:module:function, random:SEED"""


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym generate", description=__doc__)
    parser.add_argument("--controller", type=str, required=True, help=CONTROLLERS)
    parser.add_argument(
        "--prompts", type=str, required=True, help=".txt, .json, .jsonl or scenes:test:64"
    )
    parser.add_argument("--out", type=str, required=True, help="folder for the images")
    parser.add_argument("--generator", type=str, default="scenes", help="scenes, toy or a folder")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seed", type=int, default=0, help="of the first prompt without its own")
    parser.add_argument("--batch-size", type=int, default=16, help="images made together")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 130 if it was interrupted."""
    options = make_parser().parse_args(args)

    from agents.image_folder import ImageFolder
    from agents.interruption import StopRequest
    from agents.latency import device_name
    from agents.parse_controller import parse_controller
    from agents.rollout import run_controller
    from base.errors import ConfigError
    from commands.progress import progress_bar

    prompts = load_prompts(options.prompts, options.seed)
    device = choose_device(options.device)
    generator = load_generator(options.generator, device)
    if generator.output_kind != "image":
        raise ConfigError(f"generate writes images; this generator makes {generator.output_kind}")
    controller = parse_controller(
        options.controller, generator, make_requests(generator, prompts[:1])[0]
    )
    out = Path(options.out)
    with (
        ImageFolder(
            out,
            fingerprint=generator.fingerprint,
            controller=controller.identity,
            generator=options.generator,
            device=device_name(device),
        ) as folder,
        StopRequest("finishing the images of this batch") as stop,
        progress_bar() as bar,
    ):
        missing = folder.missing(prompts)
        task = bar.add_task("images", total=len(prompts), note=controller.name)
        bar.update(task, completed=len(prompts) - len(missing))
        requests = make_requests(generator, missing)
        # What libraries set up at their first use is not charged to the first images.
        list(run_controller(generator, controller, requests[:1]))
        results = run_controller(generator, controller, requests, options.batch_size)
        for number, (record, result) in enumerate(zip(missing, results, strict=True), start=1):
            made = describe_result(result) | {"controller": controller.name}
            folder.add(record, result.output, made)
            bar.advance(task)
            if stop.requested and number % options.batch_size == 0:
                break
    print(f"{len(folder.entries)} images in {out}")
    if folder.missing(prompts):
        print(
            f"stopped on request with {len(folder.missing(prompts))} to go; the same command "
            "goes on where it was"
        )
        return 130
    return 0


def describe_result(result: Any) -> dict[str, Any]:
    """What `meta_data.json` says of one image besides its prompt and seed."""
    return {
        "decisions": [
            {"stage": stage, **decision}
            for stage, decision in zip(result.stage_names, result.decisions, strict=True)
        ],
        "cost_flops": result.cost_flops,
        "full_cost_flops": result.full_cost_flops,
        "latency_ms": round(result.latency_ms, 3),
        "batch_size": result.batch_size,
    }
