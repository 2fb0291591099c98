"""What a reader must know before believing the figures: what is missing, and what looks wrong."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence

import pandas as pd

from eval.comparison import Comparison
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


def findings(scores: Sequence[Score], comparison: Comparison) -> list[str]:
    """Warnings that only the files can give: the same file twice, lossy pairs, transparency."""
    warnings = []
    hashes = {
        name: {s.key: s.file_sha256 for s in scores if s.folder == name and s.file_sha256}
        for name in comparison.folders
    }
    for first, second in itertools.combinations(hashes, 2):
        common = hashes[first].keys() & hashes[second].keys()
        same = [key for key in common if hashes[first][key] == hashes[second][key]]
        if same:
            text = f"{len(same)} of {len(common)} files of {second} are byte for byte those of"
            alarm = ": IS THIS A COMPARISON WITH ITSELF?" if len(same) == len(common) else ""
            warnings.append(f"{text} {first}{alarm}")
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
