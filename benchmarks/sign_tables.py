"""The tables of `docs/sign.md`, as Markdown, from what `benchmarks/sign_skipping.py` wrote.

`python -m benchmarks.sign_tables`, and with `--name sign_skipping_before` of the recipe before.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jsonargparse import auto_cli

from base.files import read_json
from benchmarks.record import FOLDER
from eval.front import Front, at_budgets

SHOWN = ("cosine", "recognised")
BUDGETS_SHOWN = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2)


def run(name: str = "sign_skipping") -> None:
    """Print them: the tracker itself and cached keypoints, each against strides and their mix.

    Args:
        name: of the JSON.
    """
    figures = read_json(FOLDER / f"{name}.json")["figures"]
    for part in [part for part in ("live", "cached") if part in figures]:
        for table in (against_strides, against_mix):
            title = f"\n{part}, {table.__name__}\n\n"
            sys.stdout.write(f"{title}{as_markdown(table(figures[part]))}\n")


def against_strides(measured: Mapping[str, Any]) -> list[list[str]]:
    """Rows: each figure of the strides, the policies minus it at equal cost, the interval."""
    strides = {n: s for n, s in measured["policies_at_the_cost_of"].items() if n != "every frame"}
    rows = [["frames looked at", *strides]]
    rows.append(["compute saved", *(_percent(1 - s["compute"]) for s in strides.values())])
    for figure in SHOWN:
        minus = f"{figure}_policies_minus"
        rows.append([f"{figure}, stride", *(_share(s[figure]) for s in strides.values())])
        rows.append(["policies minus stride", *(_signed(s[minus]) for s in strides.values())])
        rows.append(["", *(_range(s[f"{minus}_ci95"]) for s in strides.values())])
        costs = [s["compute"] for s in strides.values()]
        lowest = _lowest(measured["policies"], figure, costs)
        minima = [low - s[figure] for low, s in zip(lowest, strides.values(), strict=True)]
        rows.append(["lowest training minus stride", *map(_signed, minima)])
    return rows


def _lowest(policies: Mapping[str, Any], figure: str, costs: Sequence[float]) -> np.ndarray:
    """[C] of the trainings at these costs."""
    found = []
    for training in range(policies["trainings"]):
        points = [point for point in policies["points"] if point["training"] == training]
        labels = tuple(point["point"] for point in points)
        compute, values = (
            np.array([[point[name] for point in points]]) for name in ("compute", figure)
        )
        found.append(at_budgets(Front("", labels, compute, {figure: values}), figure, costs))
    return np.min(found, axis=0)


def against_mix(measured: Mapping[str, Any]) -> list[list[str]]:
    """The same against the best random mix of strides, at costs between theirs."""
    rows = [["compute saved", *(_percent(1 - budget) for budget in BUDGETS_SHOWN)]]
    for figure in SHOWN:
        budgets = {each["budget"]: each for each in measured["policies"][figure]["budgets"]}
        shown = [budgets[budget] for budget in BUDGETS_SHOWN]
        rows.append([f"{figure}, mix", *(_share(each["mix"]) for each in shown)])
        rows.append(["policies minus mix", *(_signed(each["minus_mix"]) for each in shown)])
        rows.append(["", *(_range(each["minus_mix_ci95"]) for each in shown)])
    return rows


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _share(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1)


def _range(interval: Sequence[float]) -> str:
    return " to ".join(_share(end) for end in interval)


if __name__ == "__main__":
    auto_cli(run)
