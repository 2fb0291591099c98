"""A comparison from beginning to end, as a library call."""

import datetime
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eval.comparison import Comparison, require_overlap
from eval.figures import Figure, figures_of, image_table
from eval.findings import contradictions, findings, input_hash, missing_figures, without_values
from eval.folders import printable
from eval.journal import Journal, identity_of
from eval.metrics.protocol import Metric
from eval.rows import Rows
from eval.scoring import OK, Score, ScoringSettings, score_images
from eval.sets import SetMetric
from eval.summary import SummarySettings, summarise_comparison

_PACKAGES = ("torch", "numpy", "pillow", "pandas", "lpips", "open_clip_torch", "pytorch_msssim")


@dataclass(frozen=True)
class Evaluation:
    """The results of a comparison.

    Attributes:
        comparison: what was compared.
        images: one row for each image of each folder.
        file_hashes: SHA-256 of the files, uint8 [keys, folders, 32]; zeros where there is none.
        figures: the columns of `images` that are figures.
        summary: what is said about folders and pairs of candidates; plain data for JSON.
        skipped: one row for everything that was not computed.
        environment: versions, settings and hashes of the inputs.
        complete: False if it was interrupted: it then covers the first images only.
    """

    comparison: Comparison
    images: pd.DataFrame
    file_hashes: np.ndarray
    figures: tuple[Figure, ...]
    summary: dict[str, Any]
    skipped: pd.DataFrame
    environment: dict[str, Any]
    complete: bool


def evaluate(
    comparison: Comparison,
    metrics: Sequence[Metric],
    scoring: ScoringSettings | None = None,
    summary: SummarySettings | None = None,
    not_computed: Mapping[str, str] | None = None,
    set_metric: SetMetric | None = None,
    journal: Path | None = None,
    on_progress: Callable[[int], None] = lambda images: None,
) -> Evaluation:
    """Score all images and summarise them. Ctrl-C ends the scoring and keeps what was done.

    Args:
        comparison: from `plan_comparison`.
        metrics: from `make_metrics`.
        scoring: how files become numbers.
        summary: how numbers become means.
        not_computed: the reason for each metric that was asked for and is not among `metrics`.
        set_metric: FID and KID, if they are asked for; not made of an interrupted run.
        journal: a file that keeps every finished score. If it holds scores of the same files and
            settings, from a run that was interrupted or killed, those are not made again.
        on_progress: called with the number of keys done since the last call.

    Raises:
        DataError: no image of a candidate has the name of one in Original; or a bad image or a size
            mismatch, where the settings make those an error.
    """
    require_overlap(comparison)
    scoring, summary = scoring or ScoringSettings(), summary or SummarySettings()
    rows = Rows(comparison.keys, list(comparison.folders), metrics)
    complete, scored, start = True, 0, time.perf_counter()
    folders = len(comparison.folders)
    try:
        for scores, new in _all_scores(comparison, metrics, scoring, journal):
            rows.add(scores)
            scored += new * len(scores)
            on_progress(len(scores) // folders)
    except KeyboardInterrupt:
        if not len(rows):
            raise
        complete = False
    seconds = time.perf_counter() - start
    not_computed = dict(not_computed or {})
    images = image_table(rows, comparison, not_computed)
    hashes = rows.file_hashes()
    del rows  # they are in the table now
    figures = figures_of(images, metrics)
    warnings = [*comparison.warnings, *findings(images, hashes, comparison)]
    if not complete:
        done = f"{len(hashes)} of {len(comparison.keys)} images"
        warnings.insert(0, f"interrupted after {done}: run it again to compare all")
    whole = {
        "format": 1,
        "complete": complete,
        "warnings": [printable(warning) for warning in warnings],
        "contradictions": contradictions(images, hashes, comparison),
        "definitions": {figure.name: asdict(figure) for figure in figures},
        "not_computed": not_computed | without_values(images, metrics),
        **summarise_comparison(images, comparison, figures, summary),
    }
    if set_metric and complete:
        _add_set_figures(whole, set_metric, comparison, images, scoring.alpha)
    return Evaluation(
        comparison=comparison,
        images=images,
        file_hashes=hashes,
        figures=tuple(figures),
        summary=whole,
        skipped=missing_figures(images, not_computed),
        environment={
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "machine": platform.platform(),
            "versions": {name: _version(name) for name in _PACKAGES},
            "seconds_of_scoring": round(seconds, 3),
            "images_scored": scored,
            "scoring": asdict(scoring),
            "summary": asdict(summary),
            "metrics": {metric.name: metric.provenance for metric in metrics},
            "inputs": {name: input_hash(hashes, comparison, name) for name in comparison.folders},
        },
        complete=complete,
    )


def _add_set_figures(
    summary: dict[str, Any],
    metric: SetMetric,
    comparison: Comparison,
    images: pd.DataFrame,
    alpha: str,
) -> None:
    """Put the figures of whole sets beside the means; they have no interval."""
    try:
        values = metric(comparison, images, alpha)
    except Exception as error:  # of a package that other versions of its neighbours can break
        why = printable(f"{metric.provenance} failed: {type(error).__name__}: {error}")
        summary["not_computed"] |= dict.fromkeys(metric.figures, why)
        return
    for name, by_folder in values.items():
        summary["definitions"][name] = asdict(Figure(name, False, metric.provenance))
        for folder, value in by_folder.items():
            count = summary["folders"][folder]["statuses"].get(OK, 0)
            nothing = {"std": None, "median": None, "ci95": None}
            figures = summary["folders"][folder]["figures"]
            figures[name] = {"n": count, "mean": value, **nothing}


def _all_scores(
    comparison: Comparison,
    metrics: Sequence[Metric],
    settings: ScoringSettings,
    path: Path | None,
) -> Iterator[tuple[list[Score], bool]]:
    """The scores of all images, and whether they are new: first those that the journal has."""
    if path is None:
        yield from ((scores, True) for scores in score_images(comparison, metrics, settings))
        return
    with Journal(path, identity_of(comparison, metrics, settings)) as journal:
        done = 0
        for scores in journal.finished():
            yield scores, False
            done += 1
        for scores in score_images(comparison, metrics, settings, first=done):
            journal.append(scores, len(comparison.folders))
            yield scores, True


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
