"""Actions of a policy as decisions of a generator.

Two encodings: `Discrete(n)` picks from a menu; `Box(-1, 1)` sets each field of the decision. The
latter comes in three modes, which differ in where a ratio snaps to 0 or to skip.

Glossary: B rows, n decisions of the menu, D fields of a decision.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from base.decisions import SKIP, Decision, DecisionSpace, Ratio
from base.errors import ConfigError

FULL_UP_TO = 0.05  # a ratio up to this one means that everything is computed
SKIP_FROM = 0.95  # from this one on the stage is skipped
BOX_SNAPS = {  # mode: (full up to, skip from)
    "box": (FULL_UP_TO, SKIP_FROM),
    "box_v1": (0.0, math.nextafter(0.95, 1)),  # the predecessor's first version
    "box_exact": (0.0, 1.0),  # its later ones: only exactly 1 skips
}


class ActionEncoding(Protocol):
    """How actions are read: the Gymnasium space of one row, and what its points mean.

    `menu` are the decisions to choose from, or, for a box, those that may replace a forbidden one.
    """

    @property
    def space(self) -> spaces.Space:
        """The action space of one environment."""

    @property
    def menu(self) -> tuple[dict[str, Any], ...]:
        """Complete decisions."""

    def decode(
        self, actions: Any, labels: Sequence[str], stages: np.ndarray
    ) -> list[dict[str, Any]]:
        """One decision a row; `labels` and `stages` of the rows are for error messages."""


class DiscreteActions:
    """`Discrete(n)`: the number of a decision in the menu.

    Args:
        space: the fields of a decision and the default menu.
        menu: another menu; see `product_menu`.

    Raises:
        ConfigError: an empty menu, one decision twice, or one that the generator does not know.
    """

    def __init__(self, space: DecisionSpace, menu: Sequence[Decision] | None = None):
        self.menu = tuple(space.complete(entry) for entry in (space.menu if menu is None else menu))
        if not self.menu or any(a == b for a, b in itertools.combinations(self.menu, 2)):
            raise ConfigError(
                f"menu is {list(self.menu)}; expected one or more decisions that differ "
                "(a field that is left out has its full value)"
            )
        self.space = spaces.Discrete(len(self.menu))

    def decode(
        self, actions: Any, labels: Sequence[str], stages: np.ndarray
    ) -> list[dict[str, Any]]:
        """Return one decision a row.

        Args:
            actions: [B] whole numbers from 0 to n - 1.
            labels: [B] requests, for error messages.
            stages: [B] stages, for error messages.

        Raises:
            ConfigError: wrong shape, or a value that is not such a number.
        """
        values = _numbers(actions, (len(labels),), labels, stages)
        bad = (values != np.floor(values)) | (values < 0) | (values >= len(self.menu))
        _refuse(bad, values, labels, stages, f"a whole number from 0 to {len(self.menu) - 1}")
        return [dict(self.menu[int(value)]) for value in values]


class BoxActions:
    """`Box(-1, 1, (D,))`: one number for each field, in the order of the decision space.

    With u = (a + 1) / 2, a ratio is u, where up to .05 means 0 (everything) and from .95 on means
    skip (for a stage that cannot be skipped: .95). A choice of k values is number floor(u * k),
    so that -1 is always the full value. Numbers outside of [-1, 1] are clipped.

    Args:
        space: the fields of a decision.
        full_up_to: another bound than .05.
        skip_from: another bound than .95.
    """

    def __init__(
        self, space: DecisionSpace, full_up_to: float = FULL_UP_TO, skip_from: float = SKIP_FROM
    ):
        self.full_up_to, self.skip_from = full_up_to, skip_from
        self.fields = space.fields
        self.menu = tuple(space.complete(entry) for entry in space.menu)
        self.space = spaces.Box(-1.0, 1.0, (len(self.fields),), np.float32)

    def decode(
        self, actions: Any, labels: Sequence[str], stages: np.ndarray
    ) -> list[dict[str, Any]]:
        """Return one decision a row.

        Args:
            actions: [B, D] finite numbers.
            labels: [B] requests, for error messages.
            stages: [B] stages, for error messages.

        Raises:
            ConfigError: wrong shape, NaN or infinity.
        """
        values = _numbers(actions, (len(labels), len(self.fields)), labels, stages)
        shares = (np.clip(values, -1.0, 1.0) + 1) / 2
        return [
            {
                name: self._value(field, float(share))
                for (name, field), share in zip(self.fields.items(), row, strict=True)
            }
            for row in shares
        ]

    def _value(self, field: Any, share: float) -> Any:
        """The value of a field at this share, 0 being the full value and 1 the cheapest."""
        if not isinstance(field, Ratio):
            return field.values[min(int(share * len(field.values)), len(field.values) - 1)]
        if share <= self.full_up_to:
            return 0.0
        if share >= self.skip_from:
            return SKIP if field.skippable else SKIP_FROM
        return share


def action_encoding(
    space: DecisionSpace, mode: str, menu: Sequence[Decision] | None = None
) -> ActionEncoding:
    """The encoding of this mode, `discrete` or one of `BOX_SNAPS`; only the former takes a menu.

    Raises:
        ConfigError: another mode, or a menu that cannot be used.
    """
    if mode == "discrete":
        return DiscreteActions(space, menu)
    if mode not in BOX_SNAPS:
        raise ConfigError(
            f"action_mode is {mode!r}; expected one of {', '.join(('discrete', *BOX_SNAPS))}"
        )
    if menu is not None:
        raise ConfigError(f"a menu goes with action_mode='discrete'; this one is {mode!r}")
    return BoxActions(space, *BOX_SNAPS[mode])


def _numbers(
    actions: Any, shape: tuple[int, ...], labels: Sequence[str], stages: np.ndarray
) -> np.ndarray:
    """The actions as float64 of this shape, all finite."""
    values = np.asarray(actions)
    if values.dtype.kind not in "iuf" or values.shape != shape:
        raise ConfigError(
            f"actions have shape {values.shape} and type {values.dtype}; expected numbers of shape "
            f"{shape}: {shape[0]} environment(s), each with an action of shape {shape[1:]}"
        )
    values = values.astype(np.float64)
    _refuse(~np.isfinite(values), values, labels, stages, "a finite number")
    return values


def _refuse(
    bad: np.ndarray, values: np.ndarray, labels: Sequence[str], stages: np.ndarray, expected: str
) -> None:
    if bad.any():
        where = tuple(int(axis) for axis in np.argwhere(bad)[0])
        raise ConfigError(
            f"action of environment {where[0]} (request {labels[where[0]]!r}, stage "
            f"{stages[where[0]]}) is {values[where]}; expected {expected}"
        )


def product_menu(
    space: DecisionSpace,
    ratios: Sequence[float],
    choices: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[dict[str, Any], ...]:
    """Every ratio with every choice, and skip once at the end when 1.0 is among the ratios.

    Args:
        space: must have exactly one `Ratio` field.
        ratios: from 0 (everything computed) to 1.0 (skip).
        choices: the values of the other fields to combine, such as `{"guidance": (True, False)}`;
            a field that is left out keeps its full value.

    Raises:
        ConfigError: a field or value that the generator does not know.
    """
    names = [name for name, field in space.fields.items() if isinstance(field, Ratio)]
    if len(names) != 1:
        raise ConfigError(f"product_menu needs one field that is a ratio; there are {names}")
    choices = choices or {}
    menu = [
        space.complete({names[0]: ratio, **dict(zip(choices, values, strict=True))})
        for values in itertools.product(*choices.values())
        for ratio in ratios
        if ratio != SKIP
    ]
    if SKIP in ratios:  # a skipped stage computes nothing that the other fields could change
        menu.append(space.complete({names[0]: SKIP}))
    return tuple(menu)
