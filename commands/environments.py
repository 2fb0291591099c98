"""What `gymnasium.make("prunegym/InfinityPruning-v0", ...)` calls: names to objects."""

from collections.abc import Sequence
from typing import Any

from agents.prompts import PromptRecord
from base.cache_folder import cache_folder
from commands.wiring import load_generator, load_prompts, make_requests
from envs.generator import Generator
from envs.pruning_env import PruningEnv
from envs.references import ReferenceCache
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
        settings: see `envs.pruning_env.PruningEnv`.
    """
    loaded, requests = _load(generator, prompts)
    return PruningEnv(loaded, requests, **_with_cache(settings))


def make_vector_env(
    generator: str | Generator = "scenes",
    prompts: str | Sequence[Any] = "scenes:train:512",
    num_envs: int = 1,
    **settings: Any,
) -> PruningVectorEnv:
    """The batched form: `num_envs` requests go through one model together."""
    loaded, requests = _load(generator, prompts)
    return PruningVectorEnv(loaded, requests, num_envs=num_envs, **_with_cache(settings))


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


def _with_cache(settings: dict[str, Any]) -> dict[str, Any]:
    """References are kept between runs unless the caller brings a cache."""
    if settings.get("reference_cache") is None:
        settings = settings | {"reference_cache": ReferenceCache(cache_folder() / "references")}
    return settings
