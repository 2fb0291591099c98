"""How many tokens a step decodes, at which temperature, and how strongly guided."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from base.errors import ConfigError
from fourm_backend.guidance import Scale, guidance_scales
from fourm_backend.modalities import IMAGE_LIKE, Modality
from fourm_backend.temperatures import temperatures

SCHEMES = ("maskgit", "roar", "autoregressive")
TOKEN_SCHEDULES = ("cosine", "linear")


@dataclass(frozen=True)
class Step:
    """One decoding step.

    Attributes:
        target_domain: the modality that it makes.
        scheme: `maskgit` (ask all, keep the most certain), `roar` (a random order) or
            `autoregressive` (one after the other, to the end).
        num_tokens: how many it decodes; None for autoregressive.
        temperature: 0 takes the most likely.
        cfg_scale: 1 is no guidance; a list has one weight a condition.
        cfg_cond_domains: what guidance leaves out.
    """

    target_domain: str
    scheme: str
    num_tokens: int | None
    temperature: float
    cfg_scale: Scale
    cfg_cond_domains: tuple[str, ...]

    @property
    def guided(self) -> bool:
        """Whether a pass without the conditions is needed."""
        return self.cfg_scale != 1.0 and bool(self.cfg_cond_domains)


def cosine_schedule(steps: int, tokens: int, legacy: bool = False) -> list[int]:
    """Few tokens first, most in the middle, few last.

    Args:
        steps: how many steps at most.
        tokens: how many tokens.
        legacy: leave entries of 0 and below as the published code has them.
    """
    shares = [(1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    counts = [round(tokens * (a - b)) for a, b in itertools.pairwise(shares)]
    counts.append(tokens - sum(counts))
    if legacy:
        return counts
    deficit = -min(counts[-1], 0)
    counts[-1] = max(counts[-1], 0)
    for step in reversed(range(len(counts) - 1)):
        taken = min(deficit, counts[step])
        counts[step] -= taken
        deficit -= taken
    return [count for count in counts if count > 0]


def linear_schedule(steps: int, tokens: int) -> list[int]:
    """Equal parts, larger ones first; never more steps than tokens."""
    counts = np.diff(np.floor(np.linspace(0, tokens, steps + 1))).astype(int)
    return [int(count) for count in sorted(counts, reverse=True) if count > 0]


def continue_schedule(schedule: Sequence[int], done: int) -> list[int]:
    """What is left of a schedule after `done` tokens."""
    left = []
    for count in schedule:
        now = min(count, done)
        done -= now
        if count > now:
            left.append(count - now)
    return left


def build_chained_generation_schedules(
    cond_domains: Sequence[str],
    target_domains: Sequence[str],
    tokens_per_target: Sequence[int],
    autoregression_schemes: Sequence[str],
    decoding_steps: Sequence[int | None],
    token_decoding_schedules: Sequence[str | None],
    temps: Sequence[float],
    temp_schedules: Sequence[str],
    cfg_scales: Sequence[Any],
    cfg_schedules: Sequence[str],
    cfg_grow_conditioning: bool = False,
    modality_info: Mapping[str, Modality] | None = None,
    legacy: bool = False,
    cfg_grow_text: bool = False,
) -> list[Step]:
    """All steps of a chain of targets, in order; every list has one entry a target.

    Args:
        cond_domains: what is given.
        target_domains: what is made, in this order.
        tokens_per_target: lengths.
        autoregression_schemes: see `Step`.
        decoding_steps: how many steps; ignored for autoregressive.
        token_decoding_schedules: `cosine` or `linear`, for maskgit; roar is always linear.
        temps: temperatures.
        temp_schedules: `constant`, `linear` or `onex:LOWEST:POWER`.
        cfg_scales: 1 no guidance, above 1 more, 0 to 1 less, below 0 away from the conditions.
        cfg_schedules: `constant`, `linear`, `cosine` or `interval:FROM:TO`.
        cfg_grow_conditioning: a finished target joins the conditions that guidance leaves out
            (text-like ones do not, as published).
        modality_info: modalities by name, to check schemes against types.
        legacy: cosine counts as published, with entries of 0 and below.
        cfg_grow_text: text-like targets join as well.

    Raises:
        ConfigError: lists of unequal length, or a value that cannot be used; the message names it.
    """
    columns: dict[str, Sequence[Any]] = {
        "tokens_per_target": tokens_per_target,
        "autoregression_schemes": autoregression_schemes,
        "decoding_steps": decoding_steps,
        "token_decoding_schedules": token_decoding_schedules,
        "temps": temps,
        "temp_schedules": temp_schedules,
        "cfg_scales": cfg_scales,
        "cfg_schedules": cfg_schedules,
    }
    for name, column in columns.items():
        if len(column) != len(target_domains):
            raise ConfigError(
                f"{name} has {len(column)} entries for {len(target_domains)} targets "
                f"{list(target_domains)}"
            )
    conditions, chain = list(cond_domains), []
    for row, target in zip(zip(*columns.values(), strict=True), target_domains, strict=True):
        values = dict(zip(columns, row, strict=True))
        scheme = str(values["autoregression_schemes"]).lower()
        image_like = _check_scheme(scheme, target, modality_info)
        if not image_like:
            scale = values["cfg_scales"]
            scales = guidance_scales("constant", scale, [1])
            temperature = float(values["temps"])
            chain.append(Step(target, scheme, None, temperature, scales[0], tuple(conditions)))
            if cfg_grow_conditioning and cfg_grow_text:
                conditions.append(target)
            continue
        counts = _token_counts(values, scheme, legacy)
        steps = zip(
            counts,
            temperatures(values["temp_schedules"], float(values["temps"]), counts),
            guidance_scales(values["cfg_schedules"], values["cfg_scales"], counts),
            strict=True,
        )
        chain += [Step(target, scheme, *step, tuple(conditions)) for step in steps]
        if cfg_grow_conditioning:
            conditions.append(target)
    return chain


def _check_scheme(scheme: str, target: str, modalities: Mapping[str, Modality] | None) -> bool:
    """Whether the target is made in steps of many tokens."""
    if scheme not in SCHEMES:
        raise ConfigError(
            f"autoregression_schemes has {scheme!r} for {target}; expected one of {list(SCHEMES)}"
        )
    if modalities is not None:
        if target not in modalities:
            raise ConfigError(f"target {target!r} is unknown; known are {sorted(modalities)}")
        image_like = modalities[target].type in IMAGE_LIKE
        if image_like != (scheme != "autoregressive"):
            raise ConfigError(
                f"autoregression_schemes has {scheme!r} for {target}, which is of type "
                f"{modalities[target].type!r}; expected "
                f"{'maskgit or roar' if image_like else 'autoregressive'}"
            )
    return scheme != "autoregressive"


def _token_counts(values: Mapping[str, Any], scheme: str, legacy: bool) -> list[int]:
    steps, tokens = values["decoding_steps"], values["tokens_per_target"]
    for name, number in (("decoding_steps", steps), ("tokens_per_target", tokens)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ConfigError(f"{name} has {number!r}; expected a whole number from 1")
    kind = "linear" if scheme == "roar" else values["token_decoding_schedules"]
    if kind not in TOKEN_SCHEDULES:
        raise ConfigError(
            f"token_decoding_schedules has {kind!r}; expected one of {list(TOKEN_SCHEDULES)}"
        )
    if kind == "linear":
        return linear_schedule(steps, tokens)
    return cosine_schedule(steps, tokens, legacy)
