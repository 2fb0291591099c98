"""Guidance with a weight for each condition."""

from collections.abc import Sequence

import torch

from base.errors import ConfigError, GenerationError
from fourm_backend.generate import Made, Record, make_sampler, no_record
from fourm_backend.modalities import TEXT_LIKE
from fourm_backend.model import FourM
from fourm_backend.packing import Sample
from fourm_backend.sample_checks import check_sample
from fourm_backend.sampling import Noise
from fourm_backend.schedule import Step


def generate_multi_guided(
    model: FourM,
    uncond: Sample,
    conds: Sequence[Sample],
    schedule: Sequence[Step],
    top_k: int | float = 0.0,
    top_p: float = 0.0,
    seed: int | None = None,
    noise: Noise | None = None,
    record: Record = no_record,
) -> Made:
    """Guidance with a weight for each condition; image-like targets only.

    When a target is finished it becomes a condition of its own, so that the steps of the next one
    have one weight more.

    Args:
        model: the model.
        uncond: all targets, empty, and each text condition in emptied form.
        conds: one sample for each condition, with only that.
        schedule: steps with a list as `cfg_scale`.
        top_k: see `filter_logits`.
        top_p: see `filter_logits`.
        seed: as for `generate`.
        noise: as for `generate`.
        record: as for `generate`.

    Returns:
        `uncond` with the targets made; only the last one is left visible.

    Raises:
        ConfigError: a text-like target, or a scale without weights.
    """
    sampler = make_sampler(model, top_k, top_p, None, seed, noise, record)
    without: Made = dict(uncond)
    given: list[Made] = [dict(sample) for sample in conds]
    for sample in (without, *given):
        check_sample(model, sample, schedule if sample is without else ())
    current: str | None = None
    for index, step in enumerate(schedule):
        target = step.target_domain
        if model.config.outputs[target].type in TEXT_LIKE or not isinstance(step.cfg_scale, list):
            raise ConfigError(
                f"step {index} ({target}): multi-guided steps make image-like targets and have a "
                f"list of weights; cfg_scale is {step.cfg_scale}"
            )
        if target != current:
            if current is not None:
                given = _finish_target(without, given, current)
            for sample in given:
                sample[target] = without[target]
            current = target
        sampler.noise.begin_step(index)
        entry = sampler.target_after([*given, without], step)
        for sample in (*given, without):
            sample[target] = entry
        record("step", entry)
    return without


def _finish_target(without: Made, given: list[Made], finished: str) -> list[Made]:
    """A finished target leaves all samples and becomes a condition of its own."""
    entry = without[finished]
    hidden = {**entry, "input_mask": torch.ones_like(entry["input_mask"])}
    if not bool(entry["target_mask"].all()):
        raise GenerationError(
            f"{finished} is not finished when the schedule goes on to another target; its steps "
            "must make all of its tokens"
        )
    visible = {**entry, "input_mask": torch.zeros_like(entry["input_mask"])}
    for sample in given:
        del sample[finished]
    without[finished] = hidden
    return [*given, {finished: visible}]
