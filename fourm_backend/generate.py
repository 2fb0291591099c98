"""Any modality from any other, as documented: guided or not, at once or step by step.

The samples that are passed in are left as they are.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from base.errors import ConfigError
from fourm_backend.autoregression import write_text
from fourm_backend.decoding import (
    ask,
    choose_positions,
    draw_tokens,
    mix,
    read_contexts,
    write_tokens,
)
from fourm_backend.modalities import TEXT_LIKE
from fourm_backend.model import FourM
from fourm_backend.packing import Sample
from fourm_backend.sample_checks import check_sample
from fourm_backend.samples import emptied, empty_target
from fourm_backend.sampling import Noise, SequentialNoise
from fourm_backend.schedule import Step
from fourm_backend.text import SENTINELS, sentinel_ids

Record = Callable[[str, Any], None]
Made = dict[str, Mapping[str, Tensor]]


def no_record(name: str, value: Any) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Sampler:
    """A model and how tokens are drawn.

    Attributes:
        model: the model.
        noise: where randomness comes from.
        top_k: see `filter_logits`.
        top_p: see `filter_logits`.
        sentinels: ids of sentinels in text.
        show: also write what a step drew and did not keep into `tensor` (masks say what counts).
        record: called with names and values on the way, for tests.
    """

    model: FourM
    noise: Noise
    top_k: int | float = 0.0
    top_p: float = 0.0
    sentinels: Collection[int] = SENTINELS
    show: bool = False
    record: Record = no_record

    def step(self, sample: Sample, step: Step) -> Made:
        """One step of a schedule.

        Raises:
            GenerationError: see `choose_positions` and `draw_tokens`.
        """
        if isinstance(step.cfg_scale, list):
            raise ConfigError(
                f"cfg_scale {step.cfg_scale} has one weight a condition; use "
                "generate_multi_guided for that, or give one number"
            )
        passes: list[Sample] = [sample]
        if step.guided:
            modalities = self.model.config.modalities
            left = emptied(sample, step.cfg_cond_domains, modalities, step.target_domain)
            passes.append(left)
        return {**sample, step.target_domain: self.target_after(passes, step)}

    @torch.no_grad()
    def target_after(self, passes: Sequence[Sample], step: Step) -> Mapping[str, Tensor]:
        """The target after a step, from one pass, or several that are mixed (the last: without)."""
        entry = passes[-1][step.target_domain]
        if self.model.config.outputs[step.target_domain].type in TEXT_LIKE:
            contexts = read_contexts(self.model, passes)
            how = self.top_k, self.top_p, self.sentinels, self.record
            return write_text(self.model, entry, contexts, step, self.noise, *how)
        positions = choose_positions(~entry["target_mask"], step, self.noise)
        if positions.shape[1] == 0:
            return entry
        logits: list[Tensor] = []
        for context in read_contexts(self.model, passes):
            logits += ask(self.model, context, step.target_domain, positions)
        for each in logits:
            self.record("pass", (each, positions))
        mixed = mix(logits, step.cfg_scale)
        drawn = draw_tokens(mixed, positions, step, self.noise, self.top_k, self.top_p)
        self.record("drawn", drawn)
        return write_tokens(entry, drawn, self.show and step.scheme == "maskgit")


def generate(
    model: FourM,
    sample: Sample,
    schedule: Sequence[Step],
    top_k: int | float = 0.0,
    top_p: float = 0.0,
    text_tokenizer: Any = None,
    seed: int | None = None,
    noise: Noise | None = None,
    record: Record = no_record,
) -> Made:
    """Run a schedule.

    Args:
        model: the model.
        sample: what is given, and the targets, empty.
        schedule: from `build_chained_generation_schedules`.
        top_k: see `filter_logits`.
        top_p: see `filter_logits`.
        text_tokenizer: names the sentinels; None takes the ids of the published tokenizer.
        seed: step i draws from the stream of `seed + i`, as published; None draws anew.
        noise: instead of the seed, such as `SiteNoise`.
        record: called with names and values on the way.

    Returns:
        The sample with the targets made.

    Raises:
        ConfigError: a target that the model cannot make, or a setting out of range.
        DataError: a sample that does not fit.
        GenerationError: rows that cannot run together, or values that are not finite.
    """
    made: Made = dict(sample)
    sampler = make_sampler(model, top_k, top_p, text_tokenizer, seed, noise, record)
    for step in _steps(sampler, sample, schedule):
        made = step
    return made


def generate_iter(
    model: FourM,
    sample: Sample,
    schedule: Sequence[Step],
    top_k: int | float = 0.0,
    top_p: float = 0.0,
    text_tokenizer: Any = None,
    seed: int | None = None,
    noise: Noise | None = None,
    record: Record = no_record,
) -> Iterator[Made]:
    """As `generate`, giving the sample after each step.

    In MaskGIT steps `tensor` also holds what was drawn and not kept: a picture to look at.
    """
    sampler = make_sampler(model, top_k, top_p, text_tokenizer, seed, noise, record)
    yield from _steps(replace(sampler, show=True), sample, schedule)


def make_sampler(
    model: FourM,
    top_k: int | float,
    top_p: float,
    text_tokenizer: Any,
    seed: int | None,
    noise: Noise | None,
    record: Record,
) -> Sampler:
    """A sampler from the arguments of `generate`."""
    sentinels = SENTINELS if text_tokenizer is None else sentinel_ids(text_tokenizer)
    chosen = SequentialNoise(seed) if noise is None else noise
    return Sampler(model, chosen, top_k, top_p, sentinels, record=record)


def _steps(sampler: Sampler, sample: Sample, schedule: Sequence[Step]) -> Iterator[Made]:
    check_sample(sampler.model, sample, schedule)  # before the first token is made
    made: Made = dict(sample)
    for index, step in enumerate(schedule):
        sampler.noise.begin_step(index)
        made = sampler.step(made, step)
        sampler.record("step", made[step.target_domain])
        yield made


def empty_targets(
    model: FourM,
    sample: Sample,
    schedule: Sequence[Step],
    lengths: Mapping[str, int] | None = None,
    rows: int = 1,
) -> Made:
    """Add the targets of a schedule to a sample of conditions, empty.

    Args:
        model: knows the modalities.
        sample: the conditions; empty for unconditional generation.
        schedule: whose targets.
        lengths: tokens of a target; where there is none, as many as the modality has.
        rows: how many, where nothing is given.
    """
    if sample:
        rows = len(next(iter(sample.values()))["input_mask"])
    device = str(model.mask_token.device)
    made: Made = dict(sample)
    for step in schedule:
        if step.target_domain not in made:
            modality = model.target(step.target_domain).modality
            count = (lengths or {}).get(step.target_domain)
            made[step.target_domain] = empty_target(modality, rows, count, device)
    return made
