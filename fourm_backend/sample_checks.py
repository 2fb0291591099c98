"""Samples that a model cannot take are refused before the first token is made, by name."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from base.errors import DataError
from fourm_backend.model import FourM
from fourm_backend.packing import Sample
from fourm_backend.schedule import Step


def check_sample(model: FourM, sample: Sample, schedule: Sequence[Step]) -> None:
    """Check a sample against a model and the steps that are to be run.

    Raises:
        ConfigError: a target that the model cannot make.
        DataError: a target or tensor that is missing, a modality that the model does not know, rows
            that differ in number, or ids outside of a vocabulary.
    """
    for step in schedule:
        model.target(step.target_domain)
        if step.target_domain not in sample:
            raise DataError(
                f"the sample has no target {step.target_domain!r}; it has {list(sample)}. Add it "
                "with empty_target"
            )
    unknown = [name for name in sample if name not in model.config.modalities]
    if unknown:
        raise DataError(
            f"the sample has modalities that the model does not know: {unknown}; it knows "
            f"{sorted(model.config.modalities)}"
        )
    for name, entry in sample.items():
        _check_entry(name, entry, model.config.modalities[name].vocab_size)
    rows = {name: len(entry["tensor"]) for name, entry in sample.items()}
    if len(set(rows.values())) > 1:
        raise DataError(f"modalities of the sample differ in their rows: {rows}")


def _check_entry(name: str, entry: Mapping[str, Tensor], vocabulary: int) -> None:
    lacking = [key for key in ("tensor", "input_mask", "target_mask") if key not in entry]
    if lacking:
        raise DataError(f"{name!r} of the sample has no {lacking}; full_input makes all of them")
    ids = entry["tensor"]
    if vocabulary and ids.numel():
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= vocabulary:
            raise DataError(
                f"{name!r} of the sample has ids from {low} to {high}; its vocabulary has "
                f"{vocabulary}"
            )
