"""A comparison from beginning to end, as a library call."""

import datetime
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from eval.comparison import Comparison, require_overlap
from eval.figures import Figure, figures_of, image_table
from eval.findings import findings, input_hash, missing_figures, without_values
from eval.folders import printable
from eval.metrics.protocol import Metric
from eval.scoring import Score, ScoringSettings, score_images
from eval.summary import SummarySettings, summarise_comparison

_PACKAGES = ("torch", "numpy", "pillow", "pandas", "lpips", "open_clip_torch", "pytorch_msssim")


@dataclass(frozen=True)
class Evaluation:
    """The results of a comparison.

    Attributes:
        comparison: what was compared.
        images: one row for each image of each folder.
        figures: the columns of `images` that are figures.
        summary: what is said about folders and pairs of candidates; plain data for JSON.
        skipped: one row for everything that was not computed.
        environment: versions, settings and hashes of the inputs.
        complete: False if it was interrupted: it then covers the first images only.
    """

    comparison: Comparison
    images: pd.DataFrame
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
    on_progress: Callable[[int], None] = lambda images: None,
) -> Evaluation:
    """Score all images and summarise them. Ctrl-C ends the scoring and keeps what was done.

    Args:
        comparison: from `plan_comparison`.
        metrics: from `make_metrics`.
        scoring: how files become numbers.
        summary: how numbers become means.
        not_computed: the reason for each metric that was asked for and is not among `metrics`.
        on_progress: called with the number of keys done since the last call.

    Raises:
        DataError: no image of a candidate has the name of one in Original; or a bad image or a size
            mismatch, where the settings make those an error.
    """
    require_overlap(comparison)
    scoring, summary = scoring or ScoringSettings(), summary or SummarySettings()
    scores: list[Score] = []
    complete = True
    try:
        for group in score_images(comparison, metrics, scoring):
            scores += group
            on_progress(len(group) // len(comparison.folders))
    except KeyboardInterrupt:
        if not scores:
            raise
        complete = False
    not_computed = dict(not_computed or {})
    images = image_table(scores, comparison, not_computed)
    figures = figures_of(images, metrics)
    warnings = [*comparison.warnings, *findings(scores, comparison)]
    if not complete:
        done = f"{len(scores) // len(comparison.folders)} of {len(comparison.keys)} images"
        warnings.insert(0, f"interrupted after {done}: run it again to compare all")
    return Evaluation(
        comparison=comparison,
        images=images,
        figures=tuple(figures),
        summary={
            "format": 1,
            "complete": complete,
            "warnings": [printable(warning) for warning in warnings],
            "definitions": {figure.name: asdict(figure) for figure in figures},
            "not_computed": not_computed | without_values(scores, metrics),
            **summarise_comparison(images, scores, comparison, figures, summary),
        },
        skipped=missing_figures(scores, not_computed),
        environment={
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "machine": platform.platform(),
            "versions": {name: _version(name) for name in _PACKAGES},
            "scoring": asdict(scoring),
            "summary": asdict(summary),
            "metrics": {metric.name: metric.provenance for metric in metrics},
            "inputs": {name: input_hash(scores, name) for name in comparison.folders},
        },
        complete=complete,
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
