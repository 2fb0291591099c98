"""The table of single images: a row for each image of each folder, a column for each figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from eval.comparison import Comparison
from eval.metrics.protocol import Metric
from eval.scoring import OK, Score


@dataclass(frozen=True)
class Figure:
    """A column of numbers: its name, its direction, and its definition in words."""

    name: str
    higher_is_better: bool
    provenance: str


RECORDED = (
    Figure("compute_saved", True, "1 - cost / full cost in FLOPs, from the folder's metadata"),
    Figure("latency_ms", False, "milliseconds an image, from the folder's metadata"),
)


def image_table(
    scores: Sequence[Score], comparison: Comparison, not_computed: Iterable[str] = ()
) -> pd.DataFrame:
    """One row for each image of each folder: id, folder, status, figures, prompt, category.

    A metric of `not_computed` has a column, too, and it is empty.
    """
    rows = []
    for score in scores:
        cost = comparison.compute[score.folder].get(score.key) if score.status == OK else None
        prompt = comparison.prompts[score.key]
        rows.append(
            {
                "id": score.key,
                "folder": score.folder,
                "status": score.status,
                "identical": score.identical,
                "compute_saved": cost.compute_saved if cost else None,
                "latency_ms": cost.latency_ms if cost else None,
                **dict.fromkeys(not_computed),
                **score.values,
                "category": "; ".join(comparison.categories.get(score.key, ())),
                "prompt": prompt.text,
                "prompt_source": prompt.source,
            }
        )
    return pd.DataFrame(rows)


def figures_of(table: pd.DataFrame, metrics: Sequence[Metric]) -> list[Figure]:
    """The figures that at least one image of the table has, costs first."""
    every = [*RECORDED, *(Figure(m.name, m.higher_is_better, m.provenance) for m in metrics)]
    return [f for f in every if f.name in table and bool(table[f.name].notna().any())]


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
