"""Many drawings of one sequence for each picture, put together: instances all over it."""

import itertools
from collections.abc import Sequence
from typing import Any

from base.errors import ConfigError
from fourm_backend.generate import Made, Record, generate, no_record
from fourm_backend.model import FourM
from fourm_backend.packing import Sample
from fourm_backend.samples import expand_to_batch
from fourm_backend.sampling import Noise
from fourm_backend.schedule import Step
from fourm_backend.text import SENTINELS, full_text, merge_spans, sentinel_ids


def generate_sam_dense(
    model: FourM,
    sample: Sample,
    schedule: Sequence[Step],
    text_tokenizer: Any = None,
    batch_size: int = 16,
    key: str = "sam_instance",
    top_k: int | float = 0.0,
    top_p: float = 0.0,
    seed: int | None = None,
    noise: Noise | None = None,
    record: Record = no_record,
) -> Made:
    """Draw one sequence many times for each row, and put the drawings of a row together.

    Args:
        model: the model.
        sample: one row a picture.
        schedule: only the steps for `key` are run.
        text_tokenizer: as for `generate`.
        batch_size: how many drawings of each row.
        key: the sequence.
        top_k: see `filter_logits`.
        top_p: see `filter_logits`.
        seed: as for `generate`.
        noise: as for `generate`; the drawings of a row follow one another.
        record: as for `generate`.

    Returns:
        The sample with `key` as one sequence a row; it is no condition for further targets.

    Raises:
        ConfigError: no step for `key`.
    """
    steps = [step for step in schedule if step.target_domain == key]
    if not steps:
        raise ConfigError(f"the schedule has no step for {key!r}")
    many = expand_to_batch(sample, batch_size)
    arguments = (top_k, top_p, text_tokenizer, seed, noise, record)
    made = generate(model, many, steps, *arguments)[key]
    sentinels = SENTINELS if text_tokenizer is None else sentinel_ids(text_tokenizer)
    drawn = [
        merge_spans(ids[~hidden].tolist(), [], sentinels)
        for ids, hidden in zip(made["tensor"], made["input_mask"], strict=True)
    ]
    rows = [
        list(itertools.chain.from_iterable(drawn[start : start + batch_size]))
        for start in range(0, len(drawn), batch_size)
    ]
    return {**sample, key: full_text(rows, made["tensor"].device)}
