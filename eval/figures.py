"""The table of single images: a row for each image of each folder, a column for each figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.comparison import Comparison
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
    """What is known of each image of each folder in numbers: the rows, its cost and its category.

    A metric of `not_computed` has a column, too, and it is empty.
    """
    table = rows.table()
    ok = (table["status"] == OK).to_numpy()
    costs = np.full((len(RECORDED), len(table)), np.nan)
    for row, key, folder in zip(
        np.flatnonzero(ok), table["id"][ok], table["folder"][ok], strict=True
    ):
        cost = comparison.compute[folder].get(key)
        for column, figure in enumerate(RECORDED):
            value = getattr(cost, figure.name, None)
            costs[column, row] = np.nan if value is None else value
    for column, figure in enumerate(RECORDED):
        table.insert(4 + column, figure.name, costs[column])
    for name in not_computed:
        table[name] = np.nan
    categories = pd.Categorical(
        ["; ".join(comparison.categories.get(key, ())) for key in ids_of(table)]
    )
    table["category"] = categories.repeat(len(comparison.folders))
    return table


def ids_of(table: pd.DataFrame) -> pd.Series:
    """The ids of the images, each once; all folders of one stand together in the table."""
    return table["id"].iloc[:: max(1, table["folder"].nunique())]


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
    folders = table["folder"].unique()
    values = table[figure].to_numpy().reshape(-1, max(1, len(folders)))  # [images, folders]
    known = ~np.isnan(values)
    used = known.any(axis=0)
    if paired == "intersection":
        known &= known[:, used].all(axis=1, keepdims=True)
    ids = ids_of(table)
    return {
        str(name): pd.Series(values[known[:, column], column], index=ids[known[:, column]])
        for column, name in enumerate(folders)
        if used[column]
    }
