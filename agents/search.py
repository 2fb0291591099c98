"""Every schedule of a table as a point: from these come the oracle and the best fixed rules.

The search itself was done when the table was made (`envs/tabulate.py`): all leaves of the tree of
decisions, request by request, prefixes shared. What remains is to look up and to name.
"""

from collections.abc import Sequence

import numpy as np

from base.decisions import Decision
from envs.decision_table import DecisionTable, TabulatedRequest
from eval.front import Front


def all_schedules(table: DecisionTable, requests: Sequence[TabulatedRequest]) -> Front:
    """A point for each schedule of the table, on these requests; point k is leaf k.

    Args:
        table: made by `prunegym tabulate`.
        requests: some of its own.
    """
    rows = np.array([request.row for request in requests])
    compute = table.compute()[rows]
    labels = [schedule_text(table, leaf) for leaf in range(compute.shape[1])]
    figures = {name: values[rows] for name, values in table.figures.items()}
    return Front("all schedules", tuple(labels), compute, figures)


def schedule_text(table: DecisionTable, leaf: int) -> str:
    """The decisions of a leaf, as `--controller schedule:` takes them; `keep all` for the first."""
    names = [stage.name for stage in table.stages[0]]
    full = table.decision_space.complete({})
    parts = [
        f"{name}:{_value_text(decision, full)}"
        for name, decision in zip(names, table.decisions(leaf), strict=True)
        if table.decision_space.complete(decision) != full
    ]
    return ",".join(parts) or "keep all"


def _value_text(decision: Decision, full: Decision) -> str:
    """The fields that are not full; of a lone ratio just the number."""
    changed = {name: value for name, value in decision.items() if value != full[name]}
    if list(changed) == ["prune_ratio"]:
        return f"{changed['prune_ratio']:g}"
    return "+".join(f"{name}={value}" for name, value in changed.items())
