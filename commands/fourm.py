"""`prunegym fourm generate`: any modality from any other with a 4M model, over a data set.

Settings come from YAML files, each of which may hold any of them: later files win over earlier
ones, and `--NAME VALUE` over all.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.fourm_settings import RUN_SETTINGS, TASK_SETTINGS, check_settings, read_settings

logger = logging.getLogger(__name__)
_RANKS = (("RANK", "0"), ("WORLD_SIZE", "1"))  # as torchrun says them


def make_parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(
        prog="prunegym fourm generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="settings: "
        + ", ".join(RUN_SETTINGS)
        + "; of the chain: "
        + ", ".join(TASK_SETTINGS)
        + "; the latter with sr_ before them for higher resolution.\nTokens are written as .npy, "
        "text as .txt, pictures as .png where NAME_tok_id is a vector quantizer that runs here.",
    )
    for short, name, what in (
        ("-c", "--config", "model settings"),
        ("-dc", "--data_config", "data settings"),
        ("-gc", "--gen_config", "settings of the chain"),
        ("-src", "--sr_config", "settings of the chain for higher resolution"),
    ):
        parser.add_argument(short, name, type=Path, metavar="FILE", help=what)
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 130 if it was interrupted."""
    from base.errors import ConfigError

    args = list(args or [])
    if not args or args[0] != "generate":
        if args and args[0] in ("-h", "--help"):
            make_parser().print_help()
            return 0
        raise ConfigError(f"prunegym fourm {' '.join(args)!r}: expected 'prunegym fourm generate'")
    options, rest = make_parser().parse_known_args(args[1:])
    files = [options.config, options.data_config, options.gen_config, options.sr_config]
    settings = read_settings(files, rest)
    check_settings(settings)
    return run(settings)


def run(settings: dict[str, Any]) -> int:
    """Generate what the settings say; what is there already is left as it is."""
    from agents.interruption import StopRequest
    from base.errors import DataError
    from commands.progress import progress_bar
    from commands.wiring import choose_device
    from fourm_backend.chain import Chain
    from fourm_backend.checkpoints import load_model
    from fourm_backend.datasets import open_dataset
    from fourm_backend.detokenize import SETTINGS, Detokenizers
    from fourm_backend.run import Run, dtype_of, share_of_rank
    from fourm_backend.task import Task
    from fourm_backend.text import load_text_tokenizer

    rank, world_size = (int(os.environ.get(name, default)) for name, default in _RANKS)
    device = choose_device(str(settings["device"]))
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    dtype = dtype_of(str(settings["dtype"]))
    task = Task.from_values({name: settings.get(name) for name in TASK_SETTINGS})
    model = load_model(settings["model"], device, dtype)
    base, finer = Chain(model, task), None
    path = settings["text_tok_path"]
    tokenizer = load_text_tokenizer(path) if path else None
    if settings["sr_model"] and settings.get("sr_target_domains"):
        values = {name: settings.get(f"sr_{name}") for name in TASK_SETTINGS}
        if values["cond_domains"] is None:
            values["cond_domains"] = [*sorted(task.cond_domains), *task.target_domains]
        finer = Chain(load_model(settings["sr_model"], device, dtype), Task.from_values(values))
    items = open_dataset(
        settings["data_path"],
        task.cond_domains,
        model.config.inputs,
        tokenizer,
        settings["num_samples"],
        settings["parti_prompts_t5_embs"],
    )
    shown = settings["num_log_images"]
    sources = {key: settings[name] for key, name in SETTINGS.items() if settings[name]}
    folder = Path(settings["output_dir"]) / str(settings["data_name"])
    name = f"{settings['name']}--{settings['sr_name']}" if finer else str(settings["name"])
    work = Run(
        base,
        finer,
        folder / name,
        tokenizer,
        settings["seed"],
        settings["num_variations"],
        bool(settings["save_all_outputs"]),
        Detokenizers(sources, device),
        frozenset(item.index for item in items[: None if shown == "all" else shown]),
    )
    mine = [each for each in share_of_rank(items, rank, world_size) if not work.is_done(each)]
    failed: list[str] = []
    with StopRequest("finishing this sample") as stop, progress_bar() as bar:
        progress = bar.add_task("samples", total=len(mine), note=f"of {len(items)}")
        for number, item in enumerate(mine, start=1):
            try:
                work.make(item)
            except DataError as error:  # one bad file does not end a long run
                failed.append(item.label)
                logger.error("%s is left out: %s", item.label, error)
            bar.advance(progress)
            if stop.requested and number < len(mine):
                left = len(mine) - number
                print(f"stopped on request with {left} to go; the same command goes on")
                return 130
    print(f"{len(mine) - len(failed)} samples made in {work.folder}")
    if failed:
        print(f"{len(failed)} could not be read and were left out (first: {failed[0]})")
        return DataError.exit_code
    return 0
