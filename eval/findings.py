"""What a reader must know before believing the figures: what is missing, and what looks wrong."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eval.comparison import ORIGINAL, Comparison
from eval.metrics.protocol import Metric
from eval.rows import parsed_reasons
from eval.scoring import OK

_MOST_NAMED = 5


def missing_figures(table: pd.DataFrame, not_computed: Mapping[str, str]) -> pd.DataFrame:
    """One row for everything that was not computed: id, folder, figure, reason, detail."""
    rows = [
        ("all", "all", figure, "metric_unavailable", detail)
        for figure, detail in not_computed.items()
    ]
    lacking = table[(table["status"] != OK) | (table["reasons"] != "")]
    for row in lacking.itertuples():
        if row.status != OK:
            rows.append((row.id, row.folder, "all", row.status, row.detail))
        rows += [
            (row.id, row.folder, figure, reason, "")
            for figure, reason in parsed_reasons(row.reasons).items()
        ]
    return pd.DataFrame(rows, columns=["id", "folder", "figure", "reason", "detail"])


def without_values(table: pd.DataFrame, metrics: Sequence[Metric]) -> dict[str, str]:
    """The reasons, counted, of each metric that not a single image has a value of."""
    result = {}
    for metric in metrics:
        if table[metric.name].notna().any():
            continue
        measured = table if not metric.needs_reference else table[table["folder"] != ORIGINAL]
        counts: Counter[str] = Counter()
        for (status, reasons), part in measured.groupby(["status", "reasons"]):
            counts[parsed_reasons(reasons).get(metric.name, status)] += len(part)
        text = ", ".join(f"{reason} ({count})" for reason, count in counts.items())
        result[metric.name] = f"no image has a value: {text}"
    return result


def findings(table: pd.DataFrame, hashes: np.ndarray, comparison: Comparison) -> list[str]:
    """Warnings that only the files can give: the same file twice, lossy pairs, transparency.

    Args:
        table: one row for each image of each folder.
        hashes: uint8 [keys, folders, 32], of the files.
        comparison: what was compared.
    """
    warnings = []
    of_folder = {name: (table["folder"] == name).to_numpy() for name in comparison.folders}
    for name in comparison.candidates:
        pairs = table.loc[of_folder[name], "identical"].dropna()
        if pairs.any():
            some = table.loc[pairs.index[pairs][:_MOST_NAMED], "id"]
            more = ", ..." if pairs.sum() > len(some) else ""
            alarm = f" ({', '.join(some)}{more})"
            if pairs.all():
                alarm = ": IS THIS A COMPARISON WITH ITSELF?"
            warnings.append(
                f"{pairs.sum()} of {len(pairs)} images of {name} equal those of {ORIGINAL} in "
                f"every pixel{alarm}"
            )
    for first, second in itertools.combinations(comparison.candidates, 2):
        both, same = _files_of_both(hashes, comparison, first, second)
        if same.any():
            alarm = ": ARE THESE THE SAME RUN?" if same.sum() == both.sum() else ""
            warnings.append(
                f"{same.sum()} of {both.sum()} files of {second} are byte for byte those of "
                f"{first}{alarm}"
            )
    bad = (table["status"] != OK).to_numpy().reshape(-1, len(comparison.folders)).any(axis=1).sum()
    if bad:
        warnings.append(
            f"{bad} of {len(comparison.keys)} images are missing, unreadable or of another "
            "size in some folder: see skipped.csv"
        )
    for name, own in of_folder.items():
        lossy, alpha = (int(table.loc[own, flag].sum()) for flag in ("lossy", "has_alpha"))
        if lossy:
            warnings.append(
                f"{lossy} files of {name} are JPEG or lossy WebP: figures measure the encoder too"
            )
        if alpha:
            warnings.append(f"{alpha} files of {name} have transparency, see the setting alpha")
    return warnings


def _files_of_both(
    hashes: np.ndarray, comparison: Comparison, first: str, second: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which keys have a file in both folders, and where those are the same; bool [keys]."""
    names = list(comparison.folders)
    ours, theirs = hashes[:, names.index(first)], hashes[:, names.index(second)]
    both = np.logical_and(ours.any(axis=1), theirs.any(axis=1))
    return both, np.logical_and(both, (ours == theirs).all(axis=1))


def contradictions(table: pd.DataFrame, hashes: np.ndarray, comparison: Comparison) -> list[str]:
    """Folders that are the same although nothing that is recorded explains it.

    Equal images are right where nothing was pruned, and equal files where the same was decided.
    Elsewhere a method was compared with itself, or its pruning was never applied.
    """
    found = []
    for name in comparison.candidates:
        own = table[(table["folder"] == name) & table["identical"].notna()]
        if len(own) and own["identical"].all() and not (own["compute_saved"] == 0).all():
            found.append(
                f"all {len(own)} images of {name} equal those of {ORIGINAL} in every pixel, and it "
                "is not recorded that nothing was pruned"
            )
    for first, second in itertools.combinations(comparison.candidates, 2):
        both, same = _files_of_both(hashes, comparison, first, second)
        if not both.any() or (both & ~same).any():
            continue
        keys = (key for key, has in zip(comparison.keys, both, strict=False) if has)
        if not all(_same_was_decided(comparison, first, second, key) for key in keys):
            found.append(
                f"all {both.sum()} files of {second} are byte for byte those of {first}, and it is "
                "not recorded that the same was decided for both"
            )
    return found


def _same_was_decided(comparison: Comparison, first: str, second: str, key: str) -> bool:
    one, other = (comparison.compute[name].get(key) for name in (first, second))
    return bool(one and other and one.decisions and one.decisions == other.decisions)


def input_hash(hashes: np.ndarray, comparison: Comparison, folder: str) -> str:
    """One hash for all images of a folder: of their keys and the hashes of their files."""
    digest = hashlib.sha256()
    own = hashes[:, list(comparison.folders).index(folder)]
    for key, file_hash in zip(comparison.keys, own, strict=False):
        digest.update(f"{key}\0{hash_text(file_hash)}\n".encode())
    return digest.hexdigest()


def hash_text(file_hash: np.ndarray) -> str:
    """A hash, uint8 [32], in hexadecimal digits; empty for the zeros of a file that is missing."""
    return file_hash.tobytes().hex() if file_hash.any() else ""
