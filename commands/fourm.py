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

logger = logging.getLogger(__name__)

TASK_SETTINGS = (
    "cond_domains",
    "target_domains",
    "tokens_per_target",
    "autoregression_schemes",
    "decoding_steps",
    "token_decoding_schedules",
    "temps",
    "temp_schedules",
    "cfg_scales",
    "cfg_schedules",
    "cfg_grow_conditioning",
    "top_p",
    "top_k",
)
TOKENIZERS = tuple(
    f"{name}_tok_id"
    for name in ("rgb", "depth", "normal", "edges", "semseg", "clip", "dinov2", "imagebind")
)
RUN_SETTINGS: dict[str, Any] = {
    "model": None,
    "sr_model": None,
    "text_tok_path": None,
    "data_path": None,
    "data_name": "auto",
    "name": "auto",
    "sr_name": "auto",
    "num_samples": None,
    "num_variations": 1,
    "output_dir": "output/fourm",
    "seed": 0,
    "device": "auto",
    "dtype": "float32",
    "save_all_outputs": False,
    "num_log_images": 100,
    "parti_prompts_t5_embs": None,
    **dict.fromkeys(TOKENIZERS),
}
# Settings of the published files that nothing here needs: diffusion decoders are not part of this
# package, and neither are services to watch runs.
UNUSED = (
    *(f"{name}_tok_id" for name in ("dinov2_glob", "imagebind_glob", "sam_instance")),
    *("human_poses_tok_id", "detokenizer_steps", "controlnet_id", "activate_controlnet"),
    *("controlnet_guidance_scale", "controlnet_cond_scale", "image_size", "image_size_metrics"),
    *("num_workers", "pin_mem", "dist_gen"),
)


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
    return run(read_settings(files, rest))


def read_settings(files: Sequence[Path | None], rest: Sequence[str]) -> dict[str, Any]:
    """Put the layers together.

    Args:
        files: model, data, chain and super-resolution settings; any may be None.
        rest: `--NAME VALUE` pairs of the command line.

    Raises:
        ConfigError: a setting that does not exist, or an option without a value.
        DataError: a file that is missing or is not YAML.
    """
    import yaml

    from base.errors import ConfigError, DataError

    values: dict[str, Any] = {}
    for path in files:
        if path is None:
            continue
        try:
            layer = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise DataError(f"settings {path} cannot be read: {error}") from None
        if not isinstance(layer, dict):
            raise DataError(f"settings {path}: expected names and values")
        values |= layer
    values |= _overrides(rest)
    known = {*RUN_SETTINGS, *TASK_SETTINGS, *(f"sr_{name}" for name in TASK_SETTINGS), *UNUSED}
    unknown = sorted(name for name in values if name not in known and not name.startswith(_OTHERS))
    if unknown:
        raise ConfigError(f"unknown settings {unknown}; see prunegym fourm generate --help")
    unused = sorted(name for name in values if name in UNUSED or name.startswith(_OTHERS))
    if unused:
        logger.info("settings without effect here: %s", ", ".join(unused))
    values = {name: value for name, value in values.items() if name not in unused}
    for name, position in (("data_name", 1), ("name", 2), ("sr_name", 3)):
        file = files[position]
        if values.get(name, "auto") == "auto":
            values[name] = file.stem if file is not None else name.removesuffix("_name")
    return {**RUN_SETTINGS, **values}


_OTHERS = ("wandb_", "s3_", "log_wandb")


def _overrides(rest: Sequence[str]) -> dict[str, Any]:
    """`--NAME VALUE` and `--NAME=VALUE`; `--no_NAME` and `--NAME` alone are false and true."""
    import yaml

    from base.errors import ConfigError

    values: dict[str, Any] = {}
    words = list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} is not an option; options are --NAME VALUE")
        name, equals, value = word[2:].partition("=")
        if not equals and words and not words[0].startswith("--"):
            value, equals = words.pop(0), "="
        if not equals:
            values[name.removeprefix("no_")] = not name.startswith("no_")
            continue
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            values[name] = value
    return values


def run(settings: dict[str, Any]) -> int:
    """Generate what the settings say; what is there already is left as it is."""
    from agents.interruption import StopRequest
    from base.errors import ConfigError, DataError
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
    if dtype is None:
        raise ConfigError(f"dtype is {settings['dtype']!r}; expected float32, float16 or bfloat16")
    if type(settings["seed"]) is not int:
        raise ConfigError(f"seed is {settings['seed']!r}; expected a whole number")
    for name in ("num_variations", "num_samples"):
        count = settings[name]
        if count is not None and (type(count) is not int or count < 1):
            raise ConfigError(f"{name} is {count!r}; expected a whole number from 1")
    shown = settings["num_log_images"]
    if shown != "all" and (type(shown) is not int or shown < 0):
        raise ConfigError(f"num_log_images is {shown!r}; expected a whole number from 0, or all")
    if not settings["model"]:
        raise ConfigError("model is missing: a folder, a file, or the name of a model on the hub")
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


_RANKS = (("RANK", "0"), ("WORLD_SIZE", "1"))
