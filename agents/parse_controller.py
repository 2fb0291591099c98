"""From the text that a user writes after `--controller` to a controller.

| text | controller |
|---|---|
| `none` | everything is computed: the reference |
| `schedule:8:0.4,16:1.0` | the same ratios for every request, see `agents/schedules.py` |
| `schedule:fastvar_default` | one of the field's schedules by name, see `agents/schedules.py` |
| `skipvar`, `skipvar:ssim_86` | SkipVAR's decision model, once per image |
| `stagevar`, `stagevar:0.6` | late stages without guidance and with part of the tokens |
| `python:module:function` | a two-argument `get_pruning_ratio(scale, num_scales)` |
| `policy:RUN_FOLDER` | a policy that `prunegym train` saved |
| `policy:RUN_FOLDER@0.3` | the same, shown this weight of compute (0 to 1) against fidelity |
| `random`, `random:SEED` | any allowed decision of the menu, for comparison |

After any of them `+no_guidance:K` drops the guidance branch in the last K stages, and
`+calm:THRESHOLD` drops it for good once a stage changes the codes by less than that share.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agents.controllers import Controller, FixedSchedule, NoPruning, RandomChoice, RatioFunction
from agents.guidance import CalmWithoutGuidance, LateWithoutGuidance
from agents.late_stages import LateStages
from agents.policy_controller import load_policy_controller
from agents.schedules import parse_schedule
from agents.skipvar import SkipVarController
from base.decisions import Ratio
from base.errors import ConfigError
from envs.generator import Generator
from envs.preference import check_preference

KINDS = (
    "none, schedule:8:0.4,16:1.0, schedule:fastvar_default, policy:RUN_FOLDER, "
    "policy:RUN_FOLDER@0.3, skipvar, stagevar:0.5, python:module:function, random:SEED; after any "
    "of them +no_guidance:2 or +calm:0.05"
)


def parse_controller(text: str, generator: Generator, request: Any) -> Controller:
    """Make the controller that `text` names.

    Args:
        text: see the table above.
        generator: what it will control.
        request: one of the requests that it will be used for; its stages name the schedule's.

    Raises:
        ConfigError: the text cannot be read, or does not fit the generator.
        CheckpointError: a policy that is missing, damaged, or made for another generator.
    """
    inner, plus, ending = text.rpartition("+")
    if plus and ending.partition(":")[0] in ("no_guidance", "calm"):
        return _without_guidance(parse_controller(inner, generator, request), ending, generator)
    kind, _, rest = text.partition(":")
    stage_names = [stage.name for stage in generator.stages(request)]
    if text == "none":
        return NoPruning()
    if kind == "schedule":
        _check_has_ratio(text, generator)
        schedule = rest.strip("\"'")  # quotes around the schedule survive some shells
        parse_schedule(schedule, stage_names)  # a mistake is told now, not at the first image
        return FixedSchedule(schedule)
    if kind == "python":
        _check_has_ratio(text, generator)
        return RatioFunction(text, _import_function(text, rest))
    if kind == "policy" and rest:
        folder, preference = _split_preference(rest)
        return load_policy_controller(text, folder, generator, preference)
    if kind == "skipvar":
        return SkipVarController(rest or "ssim_84", generator)
    if kind == "stagevar":
        try:
            return LateStages(float(rest or 0.5), generator)
        except ValueError as error:
            raise ConfigError(f"controller {text!r}: {error}") from error
    if text == "random" or (kind == "random" and rest.isascii() and rest.isdigit()):
        return RandomChoice(int(rest or 0))
    raise ConfigError(f"controller {text!r} is not known; expected one of: {KINDS}")


def _split_preference(text: str) -> tuple[Path, float | None]:
    """`RUN_FOLDER@0.3` as folder and weight; a folder may have an @ in its own name."""
    folder, at, weight = text.rpartition("@")
    if not at or Path(text).is_dir():
        return Path(text), None
    try:
        return Path(folder), check_preference(float(weight))
    except ValueError as error:
        raise ConfigError(
            f"controller 'policy:{text}': {weight!r} is not a weight from 0 to 1, and {text} is "
            "not a folder"
        ) from error


def _without_guidance(inner: Controller, ending: str, generator: Generator) -> Controller:
    if "guidance" not in generator.decision_space.fields:
        raise ConfigError(f"+{ending}: this generator has no guidance branch to drop")
    kind, _, value = ending.partition(":")
    try:
        if kind == "calm":
            return CalmWithoutGuidance(inner, float(value), generator)
        return LateWithoutGuidance(inner, int(value))
    except ValueError as error:
        raise ConfigError(
            f"+{ending}: {error}; expected +no_guidance:K with a number of stages, or "
            "+calm:THRESHOLD with a share above 0"
        ) from error


def _check_has_ratio(text: str, generator: Generator) -> None:
    fields: Sequence[str] = list(generator.decision_space.fields)
    if not isinstance(generator.decision_space.fields.get("prune_ratio"), Ratio):
        raise ConfigError(
            f"controller {text!r} sets prune ratios; this generator's decisions have {fields}"
        )


def _import_function(text: str, path: str) -> Callable[[int, int], float]:
    module_name, _, function_name = path.partition(":")
    if not module_name or not function_name:
        raise ConfigError(f"controller {text!r}: expected python:module:function")
    folder = str(Path.cwd())
    if folder not in sys.path:  # as `python -m` does: modules beside the user come first
        sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except ImportError as error:
        raise ConfigError(f"controller {text!r}: cannot import {module_name}: {error}") from error
    except AttributeError:
        raise ConfigError(
            f"controller {text!r}: module {module_name} has no {function_name!r}"
        ) from None
    if not callable(function):
        raise ConfigError(f"controller {text!r}: {function_name} is {function!r}; not a function")
    return function
