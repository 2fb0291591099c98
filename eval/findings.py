"""What a reader must know before believing the figures: what is missing, and what looks wrong."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

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


def findings(table: pd.DataFrame, comparison: Comparison) -> list[str]:
    """Warnings that only the files can give: the same file twice, lossy pairs, transparency."""
    warnings = []
    by_folder = {name: table[table["folder"] == name] for name in comparison.folders}
    for name in comparison.candidates:
        pairs = by_folder[name]["identical"].dropna()
        if pairs.any():
            some = by_folder[name].loc[pairs.index[pairs], "id"][:_MOST_NAMED]
            more = ", ..." if pairs.sum() > len(some) else ""
            alarm = f" ({', '.join(some)}{more})"
            if pairs.all():
                alarm = ": IS THIS A COMPARISON WITH ITSELF?"
            warnings.append(
                f"{pairs.sum()} of {len(pairs)} images of {name} equal those of {ORIGINAL} in "
                f"every pixel{alarm}"
            )
    files = {
        name: own[own["file_sha256"] != ""].set_index("id")["file_sha256"]
        for name, own in by_folder.items()
    }
    for first, second in itertools.combinations(comparison.candidates, 2):
        common = files[first].index.intersection(files[second].index)
        same = int((files[first][common] == files[second][common]).sum())
        if same:
            alarm = ": ARE THESE THE SAME RUN?" if same == len(common) else ""
            warnings.append(
                f"{same} of {len(common)} files of {second} are byte for byte those of "
                f"{first}{alarm}"
            )
    unpaired = table[table["status"] != OK]["id"].nunique()
    if unpaired:
        warnings.append(
            f"{unpaired} of {len(comparison.keys)} images are missing, unreadable or of another "
            "size in some folder: see skipped.csv"
        )
    for name, own in by_folder.items():
        if own["lossy"].any():
            warnings.append(
                f"{own['lossy'].sum()} files of {name} are JPEG or lossy WebP: figures measure the "
                "encoder too"
            )
        if own["has_alpha"].any():
            warnings.append(
                f"{own['has_alpha'].sum()} files of {name} have transparency, see the setting alpha"
            )
    return warnings


def contradictions(table: pd.DataFrame, comparison: Comparison) -> list[str]:
    """Folders that are the same although nothing that is recorded explains it.

    Equal images are right where nothing was pruned, and equal files where the same was decided.
    Elsewhere a method was compared with itself, or its pruning was never applied.
    """
    found = []
    files = {
        name: own.set_index("id")["file_sha256"]
        for name, own in table.groupby("folder", sort=False)
    }
    for name in comparison.candidates:
        own = table[(table["folder"] == name) & table["identical"].notna()]
        if len(own) and own["identical"].all() and not (own["compute_saved"] == 0).all():
            found.append(
                f"all {len(own)} images of {name} equal those of {ORIGINAL} in every pixel, and it "
                "is not recorded that nothing was pruned"
            )
    for first, second in itertools.combinations(comparison.candidates, 2):
        both = files[first][files[first] != ""].index.intersection(
            files[second][files[second] != ""].index
        )
        if not len(both) or (files[first][both] != files[second][both]).any():
            continue
        costs = (comparison.compute[first], comparison.compute[second])
        decided = [[cost[key].decisions for cost in costs if key in cost] for key in both]
        if not all(len(pair) == 2 and pair[0] and pair[0] == pair[1] for pair in decided):
            found.append(
                f"all {len(both)} files of {second} are byte for byte those of {first}, and it is "
                "not recorded that the same was decided for both"
            )
    return found


def input_hash(table: pd.DataFrame, folder: str) -> str:
    """One hash for all images of a folder: of their keys and the hashes of their files."""
    own = table[table["folder"] == folder]
    digest = hashlib.sha256()
    for key, file_sha256 in zip(own["id"], own["file_sha256"], strict=True):
        digest.update(f"{key}\0{file_sha256}\n".encode())
    return digest.hexdigest()
