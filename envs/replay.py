"""Run decisions that are already known: a prefix, a reference, or an episode to be restored."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from base.decisions import Decision
from envs.generator import Generator


def replay(
    generator: Generator,
    requests: Sequence[Any],
    decisions: Sequence[Sequence[Decision]],
    state: Any = None,
) -> tuple[Any, list[list[float]]]:
    """Start these requests and take the given decisions, which may differ in number.

    Args:
        generator: makes the stages.
        requests: B requests.
        decisions: for each of them its decisions, from its first stage on, or from `state` on.
        state: B rows to go on from.

    Returns:
        The state of the B rows, in order, and the cost of each stage taken, in FLOPs.
    """
    costs: list[list[float]] = [[] for _ in requests]
    if state is None:
        state = generator.begin(requests)
    rows = list(range(len(requests)))  # the rows of `state`
    parts, order = [], []
    for taken in range(max(map(len, decisions)) + 1):
        ready = [k for k, row in enumerate(rows) if len(decisions[row]) == taken]
        if ready:
            parts.append(state if len(ready) == len(rows) else generator.fork(state, ready))
            order += [rows[k] for k in ready]
            going = [k for k in range(len(rows)) if k not in ready]
            if not going:
                break
            state, rows = generator.fork(state, going), [rows[k] for k in going]
        now = [decisions[row][taken] for row in rows]
        for row, cost in zip(rows, generator.cost(state, now), strict=True):
            costs[row].append(float(cost))
        state = generator.advance(state, now)
    if len(parts) == 1:
        return parts[0], costs
    return generator.fork(generator.join(parts), np.argsort(order).tolist()), costs


def full_decisions(generator: Generator, number: int) -> list[dict[str, Any]]:
    """That many decisions that prune nothing."""
    return [generator.decision_space.complete({}) for _ in range(number)]
