"""What is compared: folders matched by key, with prompt, category and cost of each image."""

import heapq
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import ConfigError, DataError, StrictError
from eval.compute import Compute, compute_from_json, compute_to_json
from eval.disk_mapping import DiskMapping
from eval.folders import ImageFolder, find_images, printable
from eval.metadata import Metadata, read_metadata
from eval.prompts import Prompt, resolve_prompts
from eval.provenance import (
    missing_provenance,
    read_provenance,
    timed_differently,
    timed_on,
    why_not_comparable,
)
from eval.timings import logged_timings, read_timings

ORIGINAL = "Original"


@dataclass(frozen=True)
class Comparison:
    """Folders that may be compared, and all that is known of their images before decoding.

    Attributes:
        folders: by name, `Original` first, then the candidates in the order given.
        keys: every key that any folder has, sorted.
        prompts: the prompt of each key.
        categories: the categories of each key that has some.
        compute: by folder, the cost of each image that has one recorded.
        provenance: by folder, the texts in `provenance.json`; empty where there is none.
        warnings: what the reader of the results should know.
    """

    folders: dict[str, ImageFolder]
    keys: tuple[str, ...]
    prompts: Mapping[str, Prompt]
    categories: Mapping[str, tuple[str, ...]]
    compute: Mapping[str, Mapping[str, Compute]]
    provenance: dict[str, dict[str, str]]
    warnings: tuple[str, ...]

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of the candidates."""
        return tuple(name for name in self.folders if name != ORIGINAL)

    @property
    def side_by_side(self) -> tuple[str, ...]:
        """The candidates that are shown beside each other: up to three, of more the first two."""
        return self.candidates if len(self.candidates) <= 3 else self.candidates[:2]


def plan_comparison(
    original: str | Path,
    candidates: Mapping[str, str | Path],
    *,
    layout: str = "auto",
    allow_mismatch: bool = False,
    timings: str | Path = "auto",
) -> Comparison:
    """Find and match the images of an Original folder and of any number of candidates.

    Args:
        original: the folder of the images made with nothing pruned.
        candidates: folders by name.
        layout: `auto`, `flat` or `nested`.
        allow_mismatch: compare folders of different fingerprints or seeds, with a warning.
        timings: a table of milliseconds that goes before what the metadata say; `auto` looks for
            the logs of `eval.timings` where the metadata say nothing.

    Raises:
        ConfigError: a folder is missing, or a name cannot be used.
        DataError: the table of timings cannot be used.
        StrictError: the folders were not made under the same fingerprint and seeds.
    """
    if not candidates or any(not name.strip() or name == ORIGINAL for name in candidates):
        raise ConfigError(
            f"candidates are named {list(candidates)}; give one or more, each with a name of its "
            f"own other than {ORIGINAL!r}"
        )
    folders = {
        printable(name): find_images(path, layout)
        for name, path in {ORIGINAL: original, **candidates}.items()
    }
    metadata = {name: read_metadata(folder) for name, folder in folders.items()}
    provenance = {name: read_provenance(folder.path) for name, folder in folders.items()}

    compute, unused = _costs(folders, metadata, timings)
    reasons = why_not_comparable(folders, metadata, provenance)
    if reasons and not allow_mismatch:
        raise StrictError(
            "\n".join(reasons) + "\nPass --allow-mismatch to compare them nevertheless."
        )
    sorted_keys = heapq.merge(*(folder.images for folder in folders.values()))
    keys = tuple(key for key, _ in itertools.groupby(sorted_keys))
    prompts, disagreements = resolve_prompts(keys, metadata)
    return Comparison(
        folders=folders,
        keys=keys,
        prompts=prompts,
        categories=DiskMapping(
            json.dumps,
            lambda text: tuple(json.loads(text)),
            ((key, found) for key in keys if (found := _categories(key, metadata))),
        ),
        compute=compute,
        provenance=provenance,
        warnings=(
            *(f"NOT COMPARABLE: {reason}" for reason in reasons),
            *(warning for folder in folders.values() for warning in folder.warnings),
            *(warning for entries in metadata.values() for warning in entries.warnings),
            *missing_provenance(provenance),
            *timed_differently(
                {name: timed_on(provenance[name], compute[name].values()) for name in folders}
            ),
            *disagreements,
            *unused,
        ),
    )


def require_overlap(comparison: Comparison) -> None:
    """Raise a `DataError` if no image of any candidate has the name of one in Original."""
    folders = comparison.folders
    known = folders[ORIGINAL].images
    if not any(key in known for name in comparison.candidates for key in folders[name].images):
        found = ", ".join(
            f"{name}: {len(folder.images)} in {folder.path}"
            + (f" such as {next(iter(folder.images))!r}" if folder.images else "")
            for name, folder in folders.items()
        )
        raise DataError(f"no image of a candidate has the name of one in {ORIGINAL} ({found})")


def _categories(key: str, metadata: Mapping[str, Metadata]) -> tuple[str, ...]:
    found = (entries.entries.get(key) for entries in metadata.values())
    return next((entry.categories for entry in found if entry and entry.categories), ())


def _costs(
    folders: Mapping[str, ImageFolder], metadata: Mapping[str, Metadata], timings: str | Path
) -> tuple[dict[str, Mapping[str, Compute]], list[str]]:
    """What each image of each folder cost, and a warning of times that no image has.

    A table of times goes before the metadata; logs only count where those say nothing.
    """
    logged = timings == "auto"
    times = (
        {name: logged_timings(folder) for name, folder in folders.items()}
        if logged
        else read_timings(timings)
    )
    compute: dict[str, Mapping[str, Compute]] = {
        name: DiskMapping(
            lambda cost: json.dumps(compute_to_json(cost)),
            lambda text: compute_from_json(json.loads(text)),
            _costs_of(folder, metadata[name], times.get(name, {}), logged),
        )
        for name, folder in folders.items()
    }
    unused = sum(
        name not in folders or key not in folders[name].images
        for name, found in times.items()
        for key in found
    )
    return compute, [f"{timings} has times of {unused} images that no folder has"] * bool(unused)


def _costs_of(
    folder: ImageFolder, metadata: Metadata, times: Mapping[str, float], only_missing: bool
) -> Iterator[tuple[str, Compute]]:
    for key in folder.images:
        entry, latency_ms = metadata.entries.get(key), times.get(key)
        cost = entry.compute if entry else Compute()
        if latency_ms is not None and not (only_missing and cost.latency_ms is not None):
            yield key, replace(cost, latency_ms=latency_ms)
        elif entry:
            yield key, cost
