"""Settings of `prunegym fourm generate`: layers of YAML files and the command line."""

import logging
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
    "cfg_grow_text",
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


def check_settings(settings: dict[str, Any]) -> None:
    """Check what does not belong to a chain.

    Raises:
        ConfigError: a setting that cannot be used; the message names it.
    """
    from base.errors import ConfigError
    from fourm_backend.run import dtype_of

    if dtype_of(str(settings["dtype"])) is None:
        raise ConfigError(f"dtype is {settings['dtype']!r}; expected float32, float16 or bfloat16")
    if type(settings["seed"]) is not int:
        raise ConfigError(f"seed is {settings['seed']!r}; expected a whole number")
    for name in ("num_variations", "num_samples"):
        count = settings[name]
        if count is not None and (type(count) is not int or count < 1):
            raise ConfigError(f"{name} is {count!r}; expected a whole number from 1")
    if settings["num_variations"] is None:
        raise ConfigError("num_variations is null; expected a whole number from 1")
    shown = settings["num_log_images"]
    if shown != "all" and (type(shown) is not int or shown < 0):
        raise ConfigError(f"num_log_images is {shown!r}; expected a whole number from 0, or all")
    if not settings["model"]:
        raise ConfigError("model is missing: a folder, a file, or the name of a model on the hub")
