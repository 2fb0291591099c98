"""Whether folders may be compared at all: same generator, same settings, same seeds.

`prunegym generate` writes `provenance.json` beside its images, and each image's seed into
`meta_data.json`. Figures of folders that differ in either measure luck, not pruning.
"""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from base.errors import DataError
from base.files import read_json
from eval.compute import Compute
from eval.folders import ImageFolder, printable
from eval.metadata import Metadata


def read_provenance(path: Path) -> dict[str, str]:
    """The texts in the folder's `provenance.json`; empty if there is none, or it is broken.

    `seeds` is one text, its numbers joined by commas.
    """
    try:
        content = read_json(path / "provenance.json")
    except (DataError, OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    texts = {name: printable(value) for name, value in content.items() if isinstance(value, str)}
    texts.pop("seeds", None)
    if isinstance(content.get("seeds"), list):
        texts["seeds"] = ",".join(printable(str(seed)) for seed in content["seeds"])
    return texts


def timed_on(provenance: Mapping[str, str], compute: Iterable[Compute]) -> str:
    """Where, and how many together, the images of a folder were timed; empty if nothing says so."""
    sizes = [cost.batch_size for cost in compute if cost.latency_ms is not None]
    largest = max((size for size in sizes if size), default=0)
    parts = [provenance.get("device", "") if sizes else "", f"batch {largest:g}" * bool(largest)]
    return ", ".join(part for part in parts if part)


def timed_differently(timings: Mapping[str, str]) -> list[str]:
    """A warning when `timed_on` is not the same for all folders that say it."""
    known = {name: conditions for name, conditions in timings.items() if conditions}
    if len(set(known.values())) < 2:
        return []
    where = "; ".join(f"{name}: {conditions}" for name, conditions in known.items())
    return [f"milliseconds are not comparable, they were not measured alike ({where})"]


def why_not_comparable(
    folders: Mapping[str, ImageFolder],
    metadata: Mapping[str, Metadata],
    provenance: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """Every reason against comparing these folders; all arguments by name, the Original first."""
    original, *candidates = folders
    reasons = _differing_fingerprints(provenance)
    for name in candidates:
        if folders[name].path.resolve() == folders[original].path.resolve():
            reasons.append(f"{name} is the same folder as {original}: {folders[name].path}")
        differing, known = _differing_seeds(folders, metadata, original, name)
        if differing:
            reasons.append(
                f"{name} has other seeds than {original} for {len(differing)} images, "
                f"such as {differing[0]!r}: these are different pictures"
            )
        elif not known and _other_sets_of_seeds(provenance[original], provenance[name]):
            reasons.append(
                f"{name} and {original} were made from different seeds, says provenance.json"
            )
    for first, second in itertools.combinations(candidates, 2):
        if folders[first].path.resolve() == folders[second].path.resolve():
            reasons.append(f"{second} is the same folder as {first}: {folders[first].path}")
    return reasons


def missing_provenance(provenance: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A warning when folders do not say how they were made."""
    without = [name for name, content in provenance.items() if not content.get("fingerprint")]
    if not without:
        return []
    return [
        f"no usable provenance.json in {', '.join(without)}: whether generator, settings and seeds "
        "are those of the others cannot be checked"
    ]


def _differing_fingerprints(provenance: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Against the first folder that has a fingerprint: Original, unless it has none."""
    known = {name: own["fingerprint"] for name, own in provenance.items() if own.get("fingerprint")}
    first = next(iter(known), "")
    return [
        f"{name} was made under another fingerprint than {first}: {own} and {known[first]} "
        "(other weights, sampling settings or schedule)"
        for name, own in known.items()
        if own != known[first]
    ]


def _other_sets_of_seeds(ours: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Whether neither folder's seeds are among those of the other: a part of a folder is fine."""
    one, other = (set(filter(None, found.get("seeds", "").split(","))) for found in (ours, theirs))
    return bool(one - other and other - one)


def _differing_seeds(
    folders: Mapping[str, ImageFolder],
    metadata: Mapping[str, Metadata],
    original: str,
    name: str,
) -> tuple[list[str], int]:
    """The images whose seeds differ, and how many have a seed in both folders."""
    ours, theirs = (metadata[which].entries for which in (original, name))
    differing, known = [], 0
    for key in folders[name].images:
        if key not in folders[original].images:
            continue
        seeds = [entry.seed if (entry := found.get(key)) else None for found in (ours, theirs)]
        known += None not in seeds
        if None not in seeds and seeds[0] != seeds[1]:
            differing.append(key)
    return differing, known
