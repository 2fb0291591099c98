"""`--preference`, `--target-saving`, `--min-ssim`: how a policy of many weights is to be used."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from base.cache_folder import cache_folder
from base.errors import ConfigError
from commands.wiring import load_prompts, make_requests
from envs.generator import Generator

OPTIONS = ("preference", "target_saving", "min_ssim")


def add_preference_arguments(parser: ArgumentParser) -> None:
    """Add the options to a command that has `--controller` and `--generator`."""
    parser.add_argument(
        "--preference",
        type=float | None,
        default=None,
        help="weight of compute for policy:RUN_FOLDER, as in policy:RUN_FOLDER@0.3",
    )
    parser.add_argument(
        "--target-saving",
        type=float | None,
        default=None,
        help="instead: the weight that saves this share of compute on calibration prompts",
    )
    parser.add_argument(
        "--min-ssim",
        type=float | None,
        default=None,
        help="instead: the weight that saves most while calibration prompts keep this mean SSIM",
    )
    parser.add_argument(
        "--calibration-prompts",
        type=str | None,
        default=None,
        help="for these two; of the small worlds by default 64 of their validation split",
    )


def controller_text(options: Any, generator: Generator) -> str:
    """The controller that was asked for, with its weight written out.

    Raises:
        ConfigError: options that do not go together, or a target that is out of reach.
    """
    given = [name for name in OPTIONS if getattr(options, name) is not None]
    if not given:
        return options.controller
    kind, _, folder = options.controller.partition(":")
    names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
    if len(given) > 1 or kind != "policy":
        raise ConfigError(
            f"{names} with --controller {options.controller}; expected one of them, and a "
            "controller policy:RUN_FOLDER"
        )
    preference = options.preference
    if preference is None:
        preference = _solve(options, Path(folder), generator)
    return f"{options.controller}@{preference!r}"


def _solve(options: Any, folder: Path, generator: Generator) -> float:
    from agents.policy_controller import SHIPPED, load_policy_controller
    from agents.target_preference import Calibration, Target
    from envs.references import ReferenceCache

    world = options.generator if options.generator in ("scenes", "toy") else None
    prompts = options.calibration_prompts or (world and f"{world}:validation:64")
    if prompts is None:
        raise ConfigError(
            "--target-saving and --min-ssim are solved on prompts: give --calibration-prompts, "
            "other ones than those to be generated"
        )
    policy = load_policy_controller(options.controller, folder, generator)
    requests = make_requests(generator, load_prompts(prompts))
    cache = ReferenceCache(cache_folder() / "references")
    # what comes with the package may lie where nothing can be written
    shipped = SHIPPED / folder
    inside = SHIPPED in shipped.parents and shipped.is_dir()
    kept_in = cache_folder() / "calibration" if inside else folder
    calibration = Calibration(policy, kept_in, generator, requests, cache)
    if options.min_ssim is None:
        target = Target("saved", options.target_saving)
    else:
        target = Target("ssim", options.min_ssim)
    preference = calibration.preference_for(target)
    means = calibration.means(preference)
    print(
        f"preference {preference:.4g}: on {len(requests)} calibration prompts it saves "
        f"{means['saved']:.1%} of the compute, SSIM {means['ssim']:.4f}"
    )
    return preference
