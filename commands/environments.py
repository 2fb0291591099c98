"""What `gymnasium.make("prunegym/InfinityPruning-v0", ...)` calls: names to objects."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from agents.prompts import PromptRecord
from base.cache_folder import cache_folder
from base.errors import ConfigError
from commands.wiring import KEPT_SCORING_BYTES, load_generator, load_prompts, make_requests
from envs.generator import Generator
from envs.multi_objective_env import MultiObjectivePruningEnv
from envs.pruning_env import PruningEnv
from envs.references import ReferenceCache
from envs.settings import EnvSettings
from envs.vector_env import PruningVectorEnv


def make_env(
    generator: str | Generator = "scenes",
    prompts: str | Sequence[Any] = "scenes:train:512",
    **settings: Any,
) -> PruningEnv:
    """One environment.

    Args:
        generator: `scenes`, `toy`, `table:FILE`, a pipeline folder, or a generator that is already
            loaded.
        prompts: a prompt file, `scenes:SPLIT:COUNT`, a list of prompts, or a list of requests.
        settings: see `envs.pruning_env.PruningEnv`. `scorers` may also be names, such as `lpips`,
            and `latency_table` the file that `prunegym calibrate` wrote.
    """
    loaded, requests = _load(generator, prompts)
    return PruningEnv(loaded, requests, **complete_settings(loaded, settings))


def make_multi_objective_env(
    generator: str | Generator = "scenes",
    prompts: str | Sequence[Any] = "scenes:train:512",
    **settings: Any,
) -> MultiObjectivePruningEnv:
    """One environment in MO-Gymnasium's form, `prunegym/InfinityPruning-mo-v0`."""
    loaded, requests = _load(generator, prompts)
    return MultiObjectivePruningEnv(loaded, requests, **complete_settings(loaded, settings))


def make_vector_env(
    generator: str | Generator = "scenes",
    prompts: str | Sequence[Any] = "scenes:train:512",
    num_envs: int = 1,
    **settings: Any,
) -> PruningVectorEnv:
    """The batched form: `num_envs` requests go through one model together."""
    loaded, requests = _load(generator, prompts)
    complete = complete_settings(loaded, settings)
    return PruningVectorEnv(loaded, requests, num_envs=num_envs, **complete)


def _load(
    generator: str | Generator, prompts: str | Sequence[Any]
) -> tuple[Generator, Sequence[Any]]:
    loaded = load_generator(generator) if isinstance(generator, str) else generator
    if isinstance(prompts, str):
        return loaded, make_requests(loaded, load_prompts(prompts))
    if prompts and isinstance(prompts[0], str):
        records = [PromptRecord(str(seed), text, seed) for seed, text in enumerate(prompts)]
        return loaded, make_requests(loaded, records)
    return loaded, prompts


def complete_settings(generator: Generator, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with names replaced by objects, and with what the reward needs.

    References are kept between runs unless the caller brings a cache. The predecessor's rewards
    get its own figures unless the caller brings scorers.

    Raises:
        ConfigError: an unknown setting, or a figure of the reward that cannot be computed here.
    """
    known = [field.name for field in fields(EnvSettings)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(
            f"unknown settings {unknown}; expected some of {', '.join(known)}, beside generator "
            "(which also names the backend: 'table:FILE', 'sign', 'sign:live') and prompts"
        )
    settings = dict(settings)
    if settings.get("reference_cache") is None:
        settings["reference_cache"] = ReferenceCache(cache_folder() / "references")
    scorers = settings.get("scorers") or REWARD_FIGURES.get(settings.get("reward", ""), ())
    if scorers and isinstance(scorers[0], str):
        settings["scorers"] = named_scorers(scorers)
    given = settings.get("latency_table")
    if given is None or isinstance(given, (str, Path)):
        from agents.latency import latency_table_of

        settings["latency_table"] = latency_table_of(given, generator)
    return settings


# LPIPS through VGG, as in the predecessor's training.
REWARD_FIGURES = {"v1": ("ms_ssim", "lpips"), "v2": ("ms_ssim", "lpips"), "v3": ("dreamsim",)}


def named_scorers(names: Sequence[str]) -> list[Any]:
    """Figures that rewards are made of, by name.

    Raises:
        ConfigError: one cannot be computed here.
    """
    if not names:
        return []
    from eval.metrics.registry import MetricSettings, make_metrics

    settings = MetricSettings(lpips_net="vgg", kept_bytes=KEPT_SCORING_BYTES)
    found, not_computed = make_metrics(names, settings)
    if not_computed:
        raise ConfigError(
            "; ".join(f"{name} cannot be computed: {why}" for name, why in not_computed.items())
        )
    return list(found)
