"""Comparisons that turn into lines of the table."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tests.conformance.result import CaseResult


@dataclass
class Checks:
    """Collects the results of one case; the largest error of each quantity is kept."""

    case: str
    results: dict[str, CaseResult] = field(default_factory=dict)

    def near(self, quantity: str, got: Tensor, expected: Tensor, tolerance: float) -> None:
        """Every entry within `tolerance`."""
        if got.numel() != expected.numel():
            self._add(quantity, float("inf"), tolerance)
            return
        difference = (got.reshape(expected.shape).double() - expected.double()).abs()
        self._add(quantity, float(difference.max()) if difference.numel() else 0.0, tolerance)

    def equal(self, quantity: str, got: Tensor, expected: Tensor) -> None:
        """Every entry the same; the error is the number of differing ones."""
        if got.numel() != expected.numel():
            self._add(quantity, float("inf"), 0.0)
            return
        self._add(quantity, float((got.reshape(expected.shape) != expected).sum()), 0.0)

    def image(self, quantity: str, got: Tensor, expected: Tensor) -> None:
        """uint8 images: within one level everywhere, and at most 1 % of the values different."""
        difference = (got.int() - expected.int()).abs()
        self._add(quantity, float(difference.max()), 1.0)
        self._add(f"{quantity}: share that differs", float((difference > 0).float().mean()), 0.01)

    def not_run(self, quantity: str, reason: str) -> None:
        """Something the case holds that could not be checked."""
        self.results[quantity] = CaseResult(self.case, quantity, None, None, f"not run: {reason}")

    def _add(self, quantity: str, error: float, tolerance: float) -> None:
        error = float("inf") if math.isnan(error) else error  # or `max` would lose it
        before = self.results.get(quantity)
        if before is not None and before.largest_error is not None:
            error = max(error, before.largest_error)
        verdict = "ok" if error <= tolerance else "FAIL"
        self.results[quantity] = CaseResult(self.case, quantity, error, tolerance, verdict)


def as_tensor(value: object) -> Tensor:
    """A tensor from whatever a case stores."""
    return value if isinstance(value, Tensor) else torch.as_tensor(value)
