"""The temperature of each step of a target."""

from collections.abc import Sequence

import numpy as np

from base.errors import ConfigError
from fourm_backend.named_curves import read_curve

_LOWEST_TEMPERATURE = 1e-9


def linear_temperatures(temperature: float, counts: Sequence[int]) -> list[float]:
    """Falls with the tokens that are left before the step."""
    total, before = sum(counts), np.cumsum([0, *counts[:-1]])
    return [max(float(temperature * (total - c) / total), _LOWEST_TEMPERATURE) for c in before]


def onex_temperatures(
    highest: float, lowest: float, power: float, counts: Sequence[int]
) -> list[float]:
    """Falls fast: 1/x to a power, times the tokens left after the step.

    The curve has one point a token and is read at the number of the step, as published.
    """
    total = sum(counts)
    if total == 1:
        return [highest]
    curve = np.linspace(1, 100, total) ** -power
    curve = (curve - curve.min()) / (curve.max() - curve.min())
    done = np.cumsum(counts) / total
    values = lowest + (highest - lowest) * (1 - done) * curve[: len(counts)]
    return [max(float(value), _LOWEST_TEMPERATURE) for value in values]


def decreasing_temperatures(highest: float, lowest: float, counts: Sequence[int]) -> list[float]:
    """Falls to the lowest with the tokens left after the step."""
    done = np.cumsum(counts) / sum(counts)
    return [float(lowest + (highest - lowest) * (1 - share)) for share in done]


def temperatures(kind: str, temperature: float, counts: Sequence[int]) -> list[float]:
    """The temperatures of a target.

    Raises:
        ConfigError: a kind that is none of `constant`, `linear`, `onex:LOWEST:POWER`.
    """
    if kind == "constant":
        return [temperature] * len(counts)
    if kind == "linear":
        return linear_temperatures(temperature, counts)
    name, numbers = read_curve(kind)
    if name != "onex" or len(numbers) != 2:
        raise ConfigError(
            f"temp_schedules has {kind!r}; expected constant, linear or onex:LOWEST:POWER such as "
            "onex:0.5:0.5"
        )
    lowest, power = numbers
    return onex_temperatures(temperature, lowest, power, counts)
