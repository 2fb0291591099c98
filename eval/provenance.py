"""Whether folders may be compared at all: same generator, same settings, same seeds.

`prunegym generate` writes `provenance.json` beside its images, and each image's seed into
`meta_data.json`. Figures of folders that differ in either measure luck, not pruning.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path

from base.errors import DataError
from base.files import read_json
from eval.folders import ImageFolder, printable
from eval.metadata import Metadata


def read_provenance(path: Path) -> dict[str, str]:
    """The texts in the folder's `provenance.json`; empty if there is none, or it is broken."""
    try:
        content = read_json(path / "provenance.json")
    except (DataError, OSError, ValueError, RecursionError):
        return {}
    texts = content.items() if isinstance(content, dict) else ()
    return {name: printable(value) for name, value in texts if isinstance(value, str)}


def why_not_comparable(
    folders: Mapping[str, ImageFolder],
    metadata: Mapping[str, Metadata],
    provenance: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """Every reason against comparing these folders; all arguments by name, the Original first."""
    original, *candidates = folders
    reasons = []
    for name in candidates:
        if folders[name].path.resolve() == folders[original].path.resolve():
            reasons.append(f"{name} is the same folder as {original}: {folders[name].path}")
        ours, theirs = (provenance[which].get("fingerprint") for which in (original, name))
        if ours and theirs and ours != theirs:
            reasons.append(
                f"{name} was made under another fingerprint than {original}: {theirs} and {ours} "
                "(other weights, sampling settings or schedule)"
            )
        differing = _differing_seeds(folders, metadata, original, name)
        if differing:
            reasons.append(
                f"{name} has other seeds than {original} for {len(differing)} images, "
                f"such as {differing[0]!r}: these are different pictures"
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


def _differing_seeds(
    folders: Mapping[str, ImageFolder],
    metadata: Mapping[str, Metadata],
    original: str,
    name: str,
) -> list[str]:
    common = folders[original].images.keys() & folders[name].images.keys()
    entries = [metadata[which].entries for which in (original, name)]
    differing = []
    for key in sorted(common):
        seeds = [by_key[key].seed if key in by_key else None for by_key in entries]
        if None not in seeds and seeds[0] != seeds[1]:
            differing.append(key)
    return differing
