"""Apply metrics to images of mixed sizes and states; what cannot be measured gets a reason."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from eval.metrics.protocol import Metric

logger = logging.getLogger(__name__)

_VALUES_PER_CALL = 2**22  # pixels times channels: bounds the memory that a metric takes


@dataclass
class Sample:
    """An image to be measured, and what was measured.

    Attributes:
        pixels: uint8 [H, W, 3]; None if there is no readable image.
        reference: uint8 [H, W, 3]; None if it cannot be compared with one.
        prompt: the text of the image.
        why_not: the reason for a figure that lacks pixels or reference.
        values: by metric; None where it was not computed.
        reasons: by metric, where the value is None.
    """

    pixels: np.ndarray | None
    reference: np.ndarray | None
    prompt: str
    why_not: str = ""
    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def identical(self) -> bool | None:
        """Whether all pixels equal those of the reference; None without one."""
        if self.pixels is None or self.reference is None:
            return None
        return np.array_equal(self.pixels, self.reference)


def measure(samples: Sequence[Sample], metrics: Sequence[Metric], device: str) -> None:
    """Fill in `values` and `reasons` of all samples for all metrics."""
    for sample in samples:
        for metric in metrics:
            if reason := _why_not(sample, metric):
                sample.values[metric.name], sample.reasons[metric.name] = None, reason
    for group in _batches([sample for sample in samples if sample.pixels is not None]):
        images, references = _stacks(group, device)
        for metric in metrics:
            if _why_not(group[0], metric):
                continue
            _measure_batch(group, images, references, metric)
            if any(t is not None and t._version for t in (images, references)):
                images, references = _stacks(group, device)  # the metric wrote into its input


def _why_not(sample: Sample, metric: Metric) -> str:
    if sample.pixels is None or (metric.needs_reference and sample.reference is None):
        return sample.why_not
    return "too_small" if min(sample.pixels.shape[:2]) < metric.minimum_side else ""


def _batches(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Samples of one size together, with reference or without, no more than fit into one call."""
    alike: dict[tuple, list[Sample]] = {}
    for sample in samples:
        assert sample.pixels is not None
        alike.setdefault((sample.pixels.shape, sample.reference is None), []).append(sample)
    batches = []
    for (shape, _), group in alike.items():
        size = max(1, _VALUES_PER_CALL // math.prod(shape))
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def _measure_batch(
    samples: list[Sample], images: torch.Tensor, references: torch.Tensor | None, metric: Metric
) -> None:
    """Apply a metric to uint8 [B, H, W, 3]; where that fails, to each image alone."""
    try:
        prompts = [sample.prompt for sample in samples]
        found = metric(images, references if metric.needs_reference else None, prompts)
        values: list[float | None] = [float(value) for value in found.tolist()]
        if len(values) != len(samples):
            raise ValueError(f"{len(values)} values for {len(samples)} images")
    except Exception as error:  # of a third party's code: whatever it is, the others go on
        if len(samples) > 1:
            for row, sample in enumerate(samples):
                one = slice(row, row + 1)
                reference = None if references is None else references[one]
                _measure_batch([sample], images[one], reference, metric)
            return
        logger.warning("%s failed: %s: %s", metric.name, type(error).__name__, error)
        values = [None]
    for sample, value in zip(samples, values, strict=True):
        finite = value is not None and math.isfinite(value)
        sample.values[metric.name] = value if finite else None
        if value is None:
            sample.reasons[metric.name] = "metric_failed"
        elif not finite:
            sample.reasons[metric.name] = "identical" if sample.identical else "not_finite"


def _stacks(samples: Sequence[Sample], device: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Images and references of a batch as tensors [B, H, W, 3]; None without references."""
    images = [sample.pixels for sample in samples if sample.pixels is not None]
    references = [sample.reference for sample in samples if sample.reference is not None]
    return _stack(images, device), _stack(references, device) if references else None


def _stack(images: Sequence[np.ndarray], device: str) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).to(device)
