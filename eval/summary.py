"""From the scores of single images to what is said about each folder."""

import itertools
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from base.errors import ConfigError
from eval.comparison import Comparison
from eval.decisions import decisions_by_stage
from eval.figures import Figure, ids_of, values_by_folder
from eval.folders import printable
from eval.provenance import timed_on
from eval.statistics import compare_pairs, summarise

PAIRINGS = ("intersection", "per-candidate")


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


def summarise_comparison(
    table: pd.DataFrame,
    comparison: Comparison,
    figures: Sequence[Figure],
    settings: SummarySettings,
) -> dict[str, Any]:
    """All that is said about each folder and each pair of candidates, as plain data."""
    means = _means(table, comparison.folders, figures, settings)
    folders = {}
    for name, folder in comparison.folders.items():
        own = table.loc[table["folder"] == name, ["status", "identical"]]
        provenance = comparison.provenance[name]
        folders[name] = {
            "path": printable(str(folder.path)),
            "layout": folder.layout,
            "images": len(folder.images),
            "controller": provenance.get("controller", ""),
            "fingerprint": provenance.get("fingerprint", ""),
            "timed_on": timed_on(provenance, comparison.compute[name].values()),
            "statuses": dict(Counter(own["status"])),
            "identical_to_original": int(own["identical"].sum()),
            "decisions": decisions_by_stage(comparison.compute[name].values()),
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
        columns = ["id", "folder", figure.name]
        for baseline, candidate in itertools.combinations(candidates, 2):
            both = table.loc[table["folder"].isin([baseline, candidate]), columns]
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
    folders = len(comparison.folders)
    places: dict[str, array] = {}  # by category, the positions of its images among all
    for place, key in enumerate(ids_of(table)):
        for category in comparison.categories.get(key, ()):
            places.setdefault(category, array("q")).append(place)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for category in sorted(places):
        rows = np.array(places[category])[:, None] * folders + np.arange(folders)
        part = table.iloc[rows.ravel()]
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
