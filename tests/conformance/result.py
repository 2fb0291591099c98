"""One line of a conformance table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaseResult:
    """One checked quantity of one case; `verdict` is `ok`, `FAIL` or `not run: <reason>`."""

    case: str
    quantity: str
    largest_error: float | None
    tolerance: float | None
    verdict: str
