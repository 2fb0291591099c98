"""`prunegym generate`: make a folder of images under a controller."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from agents.prompts import PromptRecord, prompts_from_texts
from base.errors import ConfigError
from commands.preference import add_preference_arguments, controller_text
from commands.wiring import choose_device, load_generator, load_prompts, make_requests
from infinity_backend.positive_prompt import SUFFIX, add_positive_suffix

CONTROLLERS = """none, schedule:8:0.4,12:0.5,16:1.0 (stage width : share left out, 1 skips),
schedule:fastvar_default,
policy:RUN_FOLDER (@0.3: weight of compute, where it was trained for a range),
skipvar, stagevar:0.5, python:module:function, random:SEED; +no_guidance:2 after any of them"""

PRUNING = "settings of token pruning that replace the model's, such as '{selection: hybrid}'"


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym generate", description=__doc__)
    parser.add_argument("--controller", type=str, required=True, help=CONTROLLERS)
    add_preference_arguments(parser)
    parser.add_argument(
        "--prompts", type=str | None, default=None, help=".txt, .json, .jsonl or scenes:test:64"
    )
    parser.add_argument(
        "--prompt", action="append", type=str, default=None, help="one prompt; can be repeated"
    )
    parser.add_argument(
        "--negative-prompt", type=str | None, default=None, help="what to lead away from"
    )
    parser.add_argument("--out", type=str, required=True, help="folder for the images")
    parser.add_argument("--generator", type=str, default="scenes", help="scenes, toy or a folder")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seed", type=int, default=0, help="of the first prompt without its own")
    parser.add_argument("--batch-size", type=int, default=16, help="images made together")
    parser.add_argument("--images-per-prompt", type=int, default=1, help="under seeds of their own")
    parser.add_argument(
        "--layout", type=str, default="flat", help="flat (<id>.png) or nested (gen_images_<id>/1)"
    )
    parser.add_argument("--format", type=str, default="png", help="png, or jpeg (not for metrics)")
    parser.add_argument(
        "--positive-prompt", action="store_true", help="add a suffix to prompts about people"
    )
    parser.add_argument("--positive-suffix", type=str, default=SUFFIX, help="which one")
    parser.add_argument(
        "--intermediates", action="store_true", help="pictures and spectra of every scale, too"
    )
    parser.add_argument("--aspect-ratio", type=float | None, default=None, help="height over width")
    parser.add_argument(
        "--dtype", type=str | None, default=None, help="of the blocks: float32 or bfloat16"
    )
    parser.add_argument(
        "--text-encoder-device", type=str | None, default=None, help="cpu spares a small card"
    )
    parser.add_argument("--pruning", type=dict | None, default=None, help=PRUNING)
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 130 if it was interrupted."""
    options = make_parser().parse_args(args)

    from agents.image_folder import ImageFolder
    from agents.image_places import Places
    from agents.interruption import StopRequest
    from agents.latency import device_name
    from agents.parse_controller import parse_controller
    from agents.rollout import run_controller
    from commands.progress import progress_bar
    from envs.pictures import pictures_of, shows_pictures

    places = Places.plan(
        read_prompts(options), options.images_per_prompt, options.layout, options.format
    )
    prompts = places.records
    device = choose_device(options.device)
    generator = load_generator(
        options.generator,
        device,
        aspect_ratio=options.aspect_ratio,
        pruning=options.pruning,
        dtype=options.dtype,
        text_encoder_device=options.text_encoder_device,
    )
    if not shows_pictures(generator):
        raise ConfigError(f"generate writes images; this generator makes {generator.output_kind}")
    controller = parse_controller(
        controller_text(options, generator), generator, make_requests(generator, prompts[:1])[0]
    )
    out = Path(options.out)
    if options.intermediates:
        generator = with_intermediates(generator, places, out)
    with (
        ImageFolder(
            out,
            fingerprint=generator.fingerprint,
            controller=controller.identity,
            generator=options.generator,
            device=device_name(device),
            place=places.path,
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
            folder.add(record, pictures_of(generator, [result.output])[0], made)
            bar.advance(task)
            if stop.requested and number % options.batch_size == 0:
                break
    places.write_configs(out, folder.entries, controller.name)
    print(f"{len(folder.entries)} images in {out}")
    if folder.missing(prompts):
        print(
            f"stopped on request with {len(folder.missing(prompts))} to go; the same command "
            "goes on where it was"
        )
        return 130
    return 0


def read_prompts(options: Any) -> list[PromptRecord]:
    """The prompts of the file or of the command line, with what was asked to be added."""
    if (options.prompts is None) == (options.prompt is None):
        raise ConfigError("give either --prompts FILE or --prompt TEXT, not both and not neither")
    if options.prompts is not None:
        prompts = load_prompts(options.prompts, options.seed)
    else:
        prompts = prompts_from_texts(options.prompt, options.seed)
    if options.negative_prompt is not None:
        prompts = [
            replace(record, negative_prompt=record.negative_prompt or options.negative_prompt)
            for record in prompts
        ]
    if options.positive_prompt:
        prompts = [
            replace(record, prompt=add_positive_suffix(record.prompt, options.positive_suffix))
            for record in prompts
        ]
    return prompts


def with_intermediates(generator: Any, places: Any, out: Path) -> Any:
    """The same generator, which also writes what led to each image."""
    from infinity_backend.generator import InfinityGenerator
    from infinity_backend.intermediates import SavingGenerator

    if not isinstance(generator, InfinityGenerator):
        raise ConfigError("--intermediates: only an Infinity has scales to show")
    requests = make_requests(generator, places.records)
    folders = {
        request.key: out / places.intermediates(record.id)
        for record, request in zip(places.records, requests, strict=True)
    }
    return SavingGenerator(generator.pipeline, folders)


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
