"""The decision table of `prunegym compare`: found, or made and kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.progress import progress_bar
from envs.decision_table import load_table, save_table
from envs.generator import Generator
from envs.references import ReferenceCache
from envs.tabulate import tabulate
from envs.tabulated import TableGenerator


def find_or_make_table(
    places: Sequence[Path],
    generator: Generator,
    requests: Sequence[Any],
    cache: ReferenceCache,
    num_stages: int,
) -> TableGenerator:
    """The table as a generator; made where there is none that has all requests.

    A table that lacks some says at least which schedules there are to be.

    Args:
        places: files in which it may be. It is written to the first of them if that is not there,
            otherwise to the last.
        generator: of the outputs.
        requests: that the table must have.
        cache: of references.
        num_stages: decided in a table for which none says it.
    """
    menu, path = None, places[0]
    for place in dict.fromkeys(places):
        if place.exists():
            table = load_table(place)
            lacks = len({r.key for r in requests} - {r.key for r in table.requests})
            if not lacks:
                return TableGenerator(table)
            print(f"{place} lacks {lacks} of these {len(requests)} requests (prompt and seed)")
            if menu is None:  # the same schedules as in the table that was asked for
                num_stages, menu = table.depth, table.decision_space.menu
            path = places[-1]
    with progress_bar() as bar:
        task = bar.add_task("every schedule", total=len(requests), note=f"kept in {path}")
        table = tabulate(
            generator,
            requests,
            cache,
            num_stages=num_stages,
            menu=menu,
            batch_size=8,
            on_batch=lambda done: bar.update(task, completed=done),
        )
    save_table(path, table)
    return TableGenerator(table)
