"""Rewards. Each is finite, or it is an error that names request, stage and value."""

from collections.abc import Callable, Sequence

import numpy as np

from base.errors import GenerationError

Reward = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def pareto(preference: np.ndarray, saved: np.ndarray, fidelity: np.ndarray) -> np.ndarray:
    """Compute saved at this stage, and at the last one how close the output is to its reference.

    With gamma 1 the return is exactly w * (share of the request's cost that was saved) plus
    (1 - w) * fidelity: every policy that maximises it lies on the Pareto front of the two.

    Args:
        preference: [B] the weight w, in [0, 1].
        saved: [B] (full cost of the stage - its cost) / full cost of the request.
        fidelity: [B] primary figure of the final output; 0 where the row is not done yet.

    Returns:
        [B] rewards.
    """
    return preference * saved + (1 - preference) * fidelity


REWARDS: dict[str, Reward] = {"pareto": pareto}


def check_finite(
    what: str, values: np.ndarray, labels: Sequence[str], stages: Sequence[int] | np.ndarray
) -> None:
    """Do nothing if all `values` [B] are finite.

    Raises:
        GenerationError: one is NaN or infinite; request, stage and value are named.
    """
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise GenerationError(
            f"{what} of request {labels[row]!r} is {values[row]} at stage {stages[row]}; "
            "expected a finite number"
        )
