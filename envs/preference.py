"""The preference weight w between fidelity (0) and compute (1).

At the weight w, a share of compute is worth w / (1 - w) of fidelity: that ratio is what decides, so
weights are drawn, and shown to a policy, on the scale of its logarithm.
"""

import math
from numbers import Real
from typing import Any

from base.errors import ConfigError

LOG_ODDS_BOUND = 7.0  # a weight of a thousandth, or of all but a thousandth


def check_preference(value: Any) -> float:
    """Return the weight as a float.

    Raises:
        ConfigError: it is not a number from 0 to 1.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or math.isnan(value) or not 0 <= value <= 1:
        raise ConfigError(
            f"preference is {value!r}; expected a weight from 0 (only fidelity counts) "
            "to 1 (only compute counts)"
        )
    return float(value)


def log_odds(weight: float) -> float:
    """ln(w / (1 - w)), at most `LOG_ODDS_BOUND` from 0."""
    if not 0 < weight < 1:
        return math.copysign(LOG_ODDS_BOUND, weight - 0.5)
    return min(max(math.log(weight / (1 - weight)), -LOG_ODDS_BOUND), LOG_ODDS_BOUND)


def between(low: float, high: float, place: float) -> float:
    """The weight at `place`, 0 to 1 of the way from low to high: in log-odds, if both are inside.

    A range that begins at 0 or ends at 1 is taken as it is, since log-odds have no end there.
    """
    if low == high:
        return low
    if low <= 0 or high >= 1:
        return low + (high - low) * place
    start, end = math.log(low / (1 - low)), math.log(high / (1 - high))
    weight = 1 / (1 + math.exp(-(start + (end - start) * place)))
    return min(max(weight, low), high)
