"""What is compared: folders matched by key, with prompt, category and cost of each image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import ConfigError, DataError, StrictError
from eval.compute import Compute
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
    prompts: dict[str, Prompt]
    categories: dict[str, tuple[str, ...]]
    compute: dict[str, dict[str, Compute]]
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

    compute = {name: _compute(folders[name], metadata[name]) for name in folders}
    unused = _add_timings(compute, folders, timings)

    reasons = why_not_comparable(folders, metadata, provenance)
    if reasons and not allow_mismatch:
        raise StrictError(
            "\n".join(reasons) + "\nPass --allow-mismatch to compare them nevertheless."
        )
    keys = sorted(set().union(*(folder.images for folder in folders.values())))
    prompts, disagreements = resolve_prompts(keys, metadata)
    return Comparison(
        folders=folders,
        keys=tuple(keys),
        prompts=prompts,
        categories={key: found for key in keys if (found := _categories(key, metadata))},
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
    found = (
        entries.entries[key].categories for entries in metadata.values() if key in entries.entries
    )
    return next((categories for categories in found if categories), ())


def _compute(folder: ImageFolder, metadata: Metadata) -> dict[str, Compute]:
    return {key: metadata.entries[key].compute for key in folder.images if key in metadata.entries}


def _add_timings(
    compute: dict[str, dict[str, Compute]],
    folders: Mapping[str, ImageFolder],
    timings: str | Path,
) -> list[str]:
    """Put times into `compute`; a warning tells of those that no image has."""
    if timings == "auto":
        logged = {name: logged_timings(folder) for name, folder in folders.items()}
        times = {
            name: {key: ms for key, ms in found.items() if not _has_time(compute[name].get(key))}
            for name, found in logged.items()
        }
    else:
        times = read_timings(timings)
    unused = 0
    for name, found in times.items():
        images = folders[name].images if name in folders else {}
        for key, ms in found.items():
            if key in images:
                known = compute[name].get(key, Compute())
                compute[name][key] = replace(known, latency_ms=ms)
            else:
                unused += 1
    return [f"{timings} has times of {unused} images that no folder has"] if unused else []


def _has_time(cost: Compute | None) -> bool:
    return cost is not None and cost.latency_ms is not None
