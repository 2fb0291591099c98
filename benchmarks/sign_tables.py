"""The tables of `docs/sign.md`, as Markdown, from what `benchmarks/sign_skipping.py` wrote.

`python -m benchmarks.sign_tables`; which training is `policy:signers` is read from what
`benchmarks/sign_choice.py` wrote.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from base.files import read_json
from benchmarks.record import FOLDER
from eval.front import Front, at_budgets

SHOWN = ("cosine", "recognised")
BUDGETS_SHOWN = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2)


def run() -> None:
    """Print them: the tracker itself and cached keypoints, each against strides and their mix."""
    figures = read_json(FOLDER / "sign_skipping.json")["figures"]
    candidates = read_json(FOLDER / "sign_choice.json")["figures"]["policies"]
    chosen = max(candidates, key=lambda policy: candidates[policy]["mean"])
    for part in [part for part in ("live", "cached") if part in figures]:
        measured = figures[part]
        tables = {
            "fixed strides": against_strides(measured, chosen),
            "their best mix": against_mix(measured),
        }
        for title, rows in tables.items():
            sys.stdout.write(f"\n{part}, against {title}\n\n{as_markdown(rows)}\n")


def against_strides(measured: Mapping[str, Any], chosen: str) -> list[list[str]]:
    """Rows: each figure of the strides, and the policies minus it at equal cost.

    Of these their mean with its interval, the lowest training, and the one that is `chosen`.
    """
    strides = {n: s for n, s in measured["policies_at_the_cost_of"].items() if n != "every frame"}
    rows = [["frames looked at", *strides]]
    rows.append(["compute saved", *(_percent(1 - s["compute"]) for s in strides.values())])
    costs = [s["compute"] for s in strides.values()]
    for figure in SHOWN:
        mean = f"{figure}_policies_minus"
        rows.append([f"{figure}, stride", *(_share(s[figure]) for s in strides.values())])
        rows.append(["policies minus stride", *(_signed(s[mean]) for s in strides.values())])
        rows.append(["", *(_range(s[f"{mean}_ci95"]) for s in strides.values())])
        minus = _each(measured["policies"], figure, costs) - [s[figure] for s in strides.values()]
        rows.append(["lowest training minus stride", *map(_signed, minus.min(0))])
        own = minus[measured["policy_folders"].index(chosen)]
        rows.append(["`policy:signers` minus stride", *map(_signed, own)])
    return rows


def _each(policies: Mapping[str, Any], figure: str, costs: Sequence[float]) -> np.ndarray:
    """[K, C]: every training at these costs."""
    found = []
    for training in range(policies["trainings"]):
        points = [point for point in policies["points"] if point["training"] == training]
        labels = tuple(point["point"] for point in points)
        compute, values = (
            np.array([[point[name] for point in points]]) for name in ("compute", figure)
        )
        found.append(at_budgets(Front("", labels, compute, {figure: values}), figure, costs))
    return np.stack(found)


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
    run()
