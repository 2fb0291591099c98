"""What a row does instead of a decision that the generator forbids now."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from base.decisions import Decision, Ratio, distinct
from base.errors import GenerationError
from envs.generator import Generator


def permitted(
    generator: Generator,
    state: Any,
    wanted: Sequence[dict[str, Any]],
    menu: Sequence[Decision],
    *,
    strict: bool,
) -> tuple[list[dict[str, Any]], list[bool]]:
    """Replace forbidden decisions by the nearest allowed ones.

    Args:
        generator: says what is allowed.
        state: B rows.
        wanted: one complete decision a row.
        menu: complete decisions that may replace one.
        strict: raise instead.

    Returns:
        One allowed decision a row, and whether it is another one than was wanted.

    Raises:
        GenerationError: a forbidden decision and `strict`, or nothing near it is allowed.
    """
    listed = distinct(wanted)
    allowed = generator.allowed(state, listed)
    decisions, replaced = list(wanted), [False] * len(wanted)
    for row, decision in enumerate(wanted):
        if allowed[row, listed.index(decision)]:
            continue
        nearest = None if strict else nearest_allowed(generator, state, row, decision, menu)
        if nearest is None:
            hint = (
                "choose another one; in an environment action_masks() tells which, and "
                "strict_actions=False replaces it"
                if strict
                else "so is everything near it: put an allowed decision into the menu"
            )
            raise GenerationError(
                f"{decision} is forbidden at stage {state.stage[row]} of request "
                f"{state.requests[row].label!r}; {hint}"
            )
        decisions[row], replaced[row] = nearest, True
    return decisions, replaced


def nearest_allowed(
    generator: Generator, state: Any, row: int, wanted: Decision, menu: Sequence[Decision]
) -> dict[str, Any] | None:
    """The allowed decision nearest to a forbidden one.

    Candidates are the menu, and `wanted` with one field set to what the menu or the field lists.
    Those that change the fewest fields come first (so that a forbidden skip does not drop the
    guidance for good), and among them the one nearest in cost.

    Returns:
        The decision, or `None` when every candidate is forbidden.
    """
    candidates = [dict(entry) for entry in menu]
    for name, field in generator.decision_space.fields.items():
        listed = [entry[name] for entry in menu] if isinstance(field, Ratio) else field.values
        candidates += [{**wanted, name: value} for value in listed]
    allowed = generator.allowed(generator.fork(state, [row]), candidates)[0]
    candidates = [c for c, free in zip(candidates, allowed, strict=True) if free]
    if not candidates:
        return None
    changed = [sum(c[name] != wanted[name] for name in wanted) for c in candidates]
    candidates = [c for c, n in zip(candidates, changed, strict=True) if n == min(changed)]
    together = generator.fork(state, [row] * (len(candidates) + 1))
    costs = generator.cost(together, [*candidates, wanted])
    return candidates[int(np.argmin(np.abs(costs[:-1] - costs[-1])))]
