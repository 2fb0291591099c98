"""Decisions as plain values: what a controller may set for one stage of one request.

A decision is a dictionary from field name to value, so that it can be written to JSON as it is:
`{"prune_ratio": 0.4, "guidance": True}`. A field that is left out has its full (most costly) value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from base.errors import ConfigError

Decision: TypeAlias = Mapping[str, Any]

SKIP = 1.0  # a ratio of exactly 1.0 skips the stage


@dataclass(frozen=True)
class Ratio:
    """A share of a stage's work that is left out: 0 is everything computed, 1.0 is skip."""

    skippable: bool = True
    full: float = 0.0

    def check(self, name: str, value: Any) -> float:
        """Return the ratio as a float, or raise a `ConfigError` that names what was received."""
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or math.isnan(value) or not 0.0 <= value <= 1.0:
            raise ConfigError(
                f"{name} is {value!r}; expected a number from 0 (keep everything) to below 1, "
                "or exactly 1.0 (skip the stage)"
            )
        if value == SKIP and not self.skippable:
            raise ConfigError(f"{name} is 1.0 (skip), but this generator cannot skip a stage")
        return float(value)


@dataclass(frozen=True)
class Choice:
    """One of a few listed values; the first is the full one."""

    values: tuple[Any, ...]

    @property
    def full(self) -> Any:
        """The most costly value."""
        return self.values[0]

    def check(self, name: str, value: Any) -> Any:
        """Return the value, or raise a `ConfigError` that lists the possible ones."""
        if value not in self.values:
            raise ConfigError(f"{name} is {value!r}; expected one of {list(self.values)}")
        return self.values[self.values.index(value)]


@dataclass(frozen=True)
class DecisionSpace:
    """The fields of a decision, and the short list of decisions that a discrete action picks from.

    Attributes:
        fields: what can be set, by name.
        menu: the default list for `Discrete` actions; its first entry computes everything.
    """

    fields: Mapping[str, Ratio | Choice]
    menu: tuple[Decision, ...]

    def complete(self, decision: Decision) -> dict[str, Any]:
        """Return the decision with every field present and checked.

        Raises:
            ConfigError: an unknown field or an impossible value.
        """
        if unknown := decision.keys() - self.fields.keys():
            raise ConfigError(
                f"unknown decision field {sorted(unknown)}; "
                f"this generator has {sorted(self.fields)}"
            )
        return {
            name: field.check(name, decision.get(name, field.full))
            for name, field in self.fields.items()
        }


def distinct(decisions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each of these decisions once, in the order in which they come."""
    found: list[dict[str, Any]] = []
    for decision in decisions:
        if decision not in found:
            found.append(decision)
    return found
