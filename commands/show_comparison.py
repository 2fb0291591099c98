"""What `prunegym compare` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def show(summaries: Mapping[str, Any], swaps: Mapping[str, Any], figure: str) -> None:
    """Print fidelity at equal compute, a row for each method, and the swap tests.

    Args:
        summaries: by method, see `eval.front_summary`.
        swaps: by policy, one for each of its trainings, see `agents.comparison.swap_test`.
        figure: the fidelity.
    """
    # A figure cut short would be another figure, so the table may be wider than the window.
    budgets = [row["budget"] for row in summaries["best mix"][figure]["budgets"]]
    console = Console(width=max(Console().width, 110, 9 * len(budgets) + 50))
    shown = Table(
        title=f"{figure} at equal compute (share of the full cost); area: hypervolume; "
        "gap: share of the way from best mix to oracle"
    )
    shown.add_column("method", no_wrap=True)
    for budget in budgets:
        shown.add_column(f"{budget:g}", justify="right")
    shown.add_column("area", justify="right")
    shown.add_column("gap", justify="right")
    for name, summary in summaries.items():
        found = summary[figure]
        cells = [_cell(row["fidelity"]) for row in found["budgets"]]
        lone = len(summary["points"]) == 1  # no front: what counts is its own compute
        share = summary["points"][0][f"{figure}_recovered"] if lone else found["recovered"]
        shown.add_row(name, *cells, _cell(found["hypervolume"]), _percent(share))
    console.print(shown)
    for name, swap in [(name, swap) for name, several in swaps.items() for swap in several]:
        total = swap["all_points"]
        console.print(
            f"swap test of {name}: {figure} changes by {_cell(total['difference'])} "
            f"(95 % {_interval(total['ci95'])}) for {total['requests']} requests that get the "
            f"decisions of another one, compute by {_cell(total['compute_difference'])}",
            highlight=False,
        )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"
