"""Curves that settings call by a name and numbers: `onex:0.5:0.5`, `interval:0.2:0.8`."""

import math


def read_curve(text: str) -> tuple[str, list[float]]:
    """The name and its numbers; no number where one of them cannot be read."""
    name, *parts = str(text).split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return name, []
    return name, numbers if all(map(math.isfinite, numbers)) else []
