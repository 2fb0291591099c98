"""From the scores of single images to what is said about each folder."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from base.errors import ConfigError
from eval.comparison import Comparison
from eval.folders import printable
from eval.metrics.protocol import Metric
from eval.scoring import OK, Score
from eval.statistics import compare_pairs, summarise

PAIRINGS = ("intersection", "per-candidate")


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


@dataclass(frozen=True)
class SummarySettings:
    """How images become means.

    Attributes:
        paired: `intersection`: an image counts only where every folder has the figure;
            `per-candidate`: every folder has its own images (and differences are still paired).
        bootstrap: how many resamples an interval rests on; 0 for no intervals.
        seed: of the resampling.
    """

    paired: str = "intersection"
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.paired not in PAIRINGS:
            raise ConfigError(f"paired is {self.paired!r}; expected one of {list(PAIRINGS)}")
        if self.bootstrap < 0 or self.seed < 0:
            raise ConfigError(
                f"bootstrap is {self.bootstrap} and seed {self.seed}; expected 0 or more"
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


def summarise_comparison(
    table: pd.DataFrame,
    scores: Sequence[Score],
    comparison: Comparison,
    figures: Sequence[Figure],
    settings: SummarySettings,
) -> dict[str, Any]:
    """All that is said about each folder and each pair of candidates, as plain data."""
    means = _means(table, comparison.folders, figures, settings)
    folders = {}
    for name, folder in comparison.folders.items():
        own = [score for score in scores if score.folder == name]
        provenance = comparison.provenance[name]
        folders[name] = {
            "path": printable(str(folder.path)),
            "layout": folder.layout,
            "images": len(folder.images),
            "controller": provenance.get("controller", ""),
            "fingerprint": provenance.get("fingerprint", ""),
            "statuses": dict(Counter(score.status for score in own)),
            "identical_to_original": sum(bool(score.identical) for score in own),
            "figures": means[name],
        }
    return {
        "paired": settings.paired,
        "folders": folders,
        "differences": _differences(table, comparison.candidates, figures, settings),
        "categories": _categories(table, comparison, figures, settings),
    }


def _differences(
    table: pd.DataFrame,
    candidates: Sequence[str],
    figures: Sequence[Figure],
    settings: SummarySettings,
) -> list[dict[str, Any]]:
    """Each candidate against each one named before it, always on the images that both have."""
    found = []
    for figure in figures:
        for baseline, candidate in itertools.combinations(candidates, 2):
            both = table[table["folder"].isin([baseline, candidate])]
            values = values_by_folder(both, figure.name)
            if len(values) == 2:
                comparison = compare_pairs(
                    values[candidate].to_numpy(),
                    values[baseline].to_numpy(),
                    figure.higher_is_better,
                    settings.bootstrap,
                    settings.seed,
                )
                names = {"figure": figure.name, "candidate": candidate, "baseline": baseline}
                found.append(names | comparison)
    return found


def _categories(
    table: pd.DataFrame,
    comparison: Comparison,
    figures: Sequence[Figure],
    settings: SummarySettings,
) -> dict[str, dict[str, dict[str, Any]]]:
    """By category, folder and figure; an image with two categories counts in both."""
    categories = sorted({name for names in comparison.categories.values() for name in names})
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for category in categories:
        keys = [key for key, names in comparison.categories.items() if category in names]
        part = table[table["id"].isin(keys)]
        result[category] = _means(part, comparison.folders, figures, settings)
    return result


def _means(
    table: pd.DataFrame,
    folders: Iterable[str],
    figures: Sequence[Figure],
    settings: SummarySettings,
) -> dict[str, dict[str, Any]]:
    """By folder and figure; a folder lacks the figures that none of its images has."""
    means: dict[str, dict[str, Any]] = {name: {} for name in folders}
    for figure in figures:
        for name, values in values_by_folder(table, figure.name, settings.paired).items():
            means[name][figure.name] = summarise(
                values.to_numpy(), settings.bootstrap, settings.seed
            )
    return means
