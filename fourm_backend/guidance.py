"""How strongly each step of a target is guided."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from base.errors import ConfigError
from fourm_backend.named_curves import read_curve

Scale = float | list[float]  # one number, or one a condition


def guidance_scales(kind: str, scale: Any, counts: Sequence[int]) -> list[Scale]:
    """The guidance of a target's steps.

    | kind | guidance at a step, before which a share of the tokens is decoded |
    |---|---|
    | `constant` | the scale |
    | `linear` | falls from the scale to 1 with the share |
    | `cosine` | falls from the scale to 1 as half a cosine |
    | `interval:A:B` | the scale while the share is in [A, B), otherwise 1 |

    With one weight a condition, weights above 1 fall to 1, those below 0 to 0; others stay.

    Args:
        kind: one of these.
        scale: a number, or a list with one for each condition.
        counts: tokens of each step.

    Raises:
        ConfigError: an unknown kind, or a scale that is not a number or a list of numbers.
    """
    weights = scale if isinstance(scale, (list, tuple)) else [scale]
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in weights):
        raise ConfigError(f"cfg_scales has {scale!r}; expected a number, or one a condition")
    strength = _strength(kind)
    if kind == "constant":  # 1 + (s - 1) is not s to the last bit
        return [scale if isinstance(scale, list) else float(scale)] * len(counts)
    shares = [float(before / sum(counts)) for before in np.cumsum([0, *counts[:-1]])]
    if not isinstance(scale, (list, tuple)):
        return [1.0 + (float(scale) - 1.0) * strength(share) for share in shares]
    rests = [min(max(float(weight), 0.0), 1.0) for weight in weights]
    return [
        [rest + (w - rest) * strength(share) for w, rest in zip(weights, rests, strict=True)]
        for share in shares
    ]


def _strength(kind: str) -> Callable[[float], float]:
    """From the share that is decoded to how much of the guidance is left."""
    name, numbers = read_curve(kind)
    if kind == "constant":
        return lambda share: 1.0
    if kind == "linear":
        return lambda share: 1.0 - share
    if kind == "cosine":
        return lambda share: (1.0 + math.cos(math.pi * share)) / 2.0
    if name == "interval" and len(numbers) == 2:
        return lambda share: float(numbers[0] <= share < numbers[1])
    raise ConfigError(
        f"cfg_schedules has {kind!r}; expected constant, linear, cosine or interval:FROM:TO such "
        "as interval:0.2:0.8"
    )
