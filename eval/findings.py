"""What a reader must know before believing the figures: what is missing, and what looks wrong."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from eval.comparison import ORIGINAL, Comparison
from eval.metrics.protocol import Metric
from eval.scoring import OK, Score


def missing_figures(scores: Sequence[Score], not_computed: Mapping[str, str]) -> pd.DataFrame:
    """One row for everything that was not computed: id, folder, figure, reason, detail."""
    rows = [
        ("all", "all", figure, "metric_unavailable", detail)
        for figure, detail in not_computed.items()
    ]
    for score in scores:
        if score.status != OK:
            rows.append((score.key, score.folder, "all", score.status, score.detail))
        rows += [
            (score.key, score.folder, figure, reason, "")
            for figure, reason in score.reasons.items()
            if reason != score.status
        ]
    return pd.DataFrame(rows, columns=["id", "folder", "figure", "reason", "detail"])


def without_values(scores: Sequence[Score], metrics: Sequence[Metric]) -> dict[str, str]:
    """The reasons, counted, of each metric that not a single image has a value of."""
    result = {}
    for metric in metrics:
        values = [score.values.get(metric.name) for score in scores]
        if all(value is None for value in values):
            reasons = Counter(s.reasons[metric.name] for s in scores if metric.name in s.reasons)
            counts = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
            result[metric.name] = f"no image has a value: {counts}"
    return result


def findings(scores: Sequence[Score], comparison: Comparison) -> list[str]:
    """Warnings that only the files can give: the same file twice, lossy pairs, transparency."""
    warnings = []
    hashes = {
        name: {s.key: s.file_sha256 for s in scores if s.folder == name and s.file_sha256}
        for name in comparison.candidates
    }
    for name in comparison.candidates:
        pairs = [s.identical for s in scores if s.folder == name and s.identical is not None]
        if any(pairs):
            alarm = ": IS THIS A COMPARISON WITH ITSELF?" if all(pairs) else ""
            warnings.append(
                f"{sum(pairs)} of {len(pairs)} images of {name} equal those of {ORIGINAL} in every "
                f"pixel{alarm}"
            )
    for first, second in itertools.combinations(comparison.candidates, 2):
        common = hashes[first].keys() & hashes[second].keys()
        same = [key for key in common if hashes[first][key] == hashes[second][key]]
        if same:
            alarm = ": ARE THESE THE SAME RUN?" if len(same) == len(common) else ""
            warnings.append(
                f"{len(same)} of {len(common)} files of {second} are byte for byte those of "
                f"{first}{alarm}"
            )
    unpaired = {score.key for score in scores if score.status != OK}
    if unpaired:
        warnings.append(
            f"{len(unpaired)} of {len(comparison.keys)} images are missing, unreadable or of "
            "another size in some folder: see skipped.csv"
        )
    for name in comparison.folders:
        own = [score for score in scores if score.folder == name]
        lossy, alpha = sum(score.lossy for score in own), sum(score.has_alpha for score in own)
        if lossy:
            warnings.append(
                f"{lossy} files of {name} are JPEG or lossy WebP: figures measure the encoder too"
            )
        if alpha:
            warnings.append(f"{alpha} files of {name} have transparency, see the setting alpha")
    return warnings


def input_hash(scores: Sequence[Score], folder: str) -> str:
    """One hash for all images of a folder: of their keys and the hashes of their files."""
    lines = [f"{score.key}\0{score.file_sha256}\n" for score in scores if score.folder == folder]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
