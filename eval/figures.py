"""The table of single images: a row for each image of each folder, a column for each figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.comparison import Comparison
from eval.decisions import decisions_text
from eval.metrics.protocol import Metric
from eval.rows import Rows
from eval.scoring import OK


@dataclass(frozen=True)
class Figure:
    """A column of numbers: its name, its direction, and its definition in words."""

    name: str
    higher_is_better: bool
    provenance: str


RECORDED = (
    Figure("compute_saved", True, "1 - cost / full cost in FLOPs, from the folder's metadata"),
    Figure("cost_flops", False, "FLOPs an image (multiply-add = 2), from the folder's metadata"),
    Figure("latency_ms", False, "milliseconds an image, from the folder's metadata"),
)


def image_table(
    rows: Rows, comparison: Comparison, not_computed: Iterable[str] = ()
) -> pd.DataFrame:
    """What is known of each image of each folder: the rows, what it cost, prompt and category.

    A metric of `not_computed` has a column, too, and it is empty.
    """
    table = rows.table()
    places = list(zip(table["folder"], table["id"], table["status"] == OK, strict=True))
    costs = [comparison.compute[f].get(key) if ok else None for f, key, ok in places]
    for position, name in enumerate(figure.name for figure in RECORDED):
        values = [getattr(cost, name) if cost else None for cost in costs]
        table.insert(4 + position, name, np.array(values, dtype=float))
    for name in not_computed:
        table[name] = np.nan
    table["decisions"] = [decisions_text(cost.decisions) if cost else "" for cost in costs]
    categories = {key: "; ".join(names) for key, names in comparison.categories.items()}
    table["category"] = [categories.get(key, "") for key in table["id"]]
    table["prompt"] = [comparison.prompts[key].text for key in table["id"]]
    table["prompt_source"] = [comparison.prompts[key].source for key in table["id"]]
    return table


def figures_of(table: pd.DataFrame, metrics: Sequence[Metric]) -> list[Figure]:
    """The figures that at least one image of the table has, costs first."""
    every = [*RECORDED, *(Figure(m.name, m.higher_is_better, m.provenance) for m in metrics)]
    return [f for f in every if f.name in table and bool(table[f.name].notna().any())]


def quality_figures(figures: Iterable[Figure]) -> list[Figure]:
    """The figures that tell how good an image is, in the order in which they were asked for."""
    recorded = {figure.name for figure in RECORDED}
    return [figure for figure in figures if figure.name not in recorded]


def values_by_folder(
    table: pd.DataFrame, figure: str, paired: str = "intersection"
) -> dict[str, pd.Series]:
    """The values of a figure by folder, each a series over image ids.

    Folders without any value are left out (the Original has no similarity to itself).
    """
    wide = table.pivot(index="id", columns="folder", values=figure).astype(float)
    wide = wide.dropna(axis="columns", how="all")
    if paired == "intersection":
        wide = wide.dropna(axis="index")
    return {str(name): wide[name].dropna() for name in wide}
