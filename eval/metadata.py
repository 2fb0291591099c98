"""What is known of each image besides its pixels: the JSON files that lie in a folder of images.

Read are, and the first that parses wins as a whole: `meta_data.json`, `metadata.json`, and for
folders of the nested layout each image's own `config.json` (`{"prompt": {"prompt": ...}}`), then
`config_all.json`. Their shapes are those of `eval.records`. What is used of each record lies on
disk, so that memory does not grow with their number.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from eval.compute import Compute, compute_from_json, compute_of, compute_to_json
from eval.disk_mapping import DiskMapping
from eval.folders import EXTENSIONS, ImageFolder, printable
from eval.json_stream import JsonStream
from eval.records import stream_records, without_duplicates

_SHAPES = {"list": " (list)", "lines": " (lines)"}  # what is told of a source
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """What one image's metadata say.

    Attributes:
        source: the file, and where it is not the plain object form, its shape.
        prompt: the prompt; empty where there is none.
        seed: the seed as it was read, of whatever type; None where there is none.
        categories: the names of its categories.
        compute: what it cost.
    """

    source: str
    prompt: str
    seed: Any
    categories: tuple[str, ...]
    compute: Compute


@dataclass(frozen=True)
class Metadata:
    """The metadata of a folder by key; `warnings` tells of files that could not be used."""

    entries: Mapping[str, Entry]
    warnings: tuple[str, ...] = ()


def read_metadata(folder: ImageFolder) -> Metadata:
    """Read whatever metadata a folder of images has. Broken files are warnings, not errors."""
    warnings: list[str] = []
    for name in ("meta_data.json", "metadata.json"):
        entries = _read_records(folder.path / name, warnings)
        if entries is not None:
            return Metadata(entries, tuple(warnings))
    entries = DiskMapping(_dump, _load)
    if folder.layout == "nested":
        entries = _read_records(folder.path / "config_all.json", warnings) or entries
        for key, image in folder.images.items():
            record = _read_config(image.parent / "config.json", warnings)
            if record is not None:
                entries[key] = _entry("config.json", record)
    return Metadata(entries, tuple(warnings))


def _read_records(path: Path, warnings: list[str]) -> DiskMapping[Entry] | None:
    """Entries by id as it is written, and where no other has that id, by its base name.

    Returns:
        None, with a warning unless the file is missing, if it cannot be used.
    """
    if not path.is_file():
        return None
    entries = DiskMapping(_dump, _load)
    by_base_name = DiskMapping(_dump, _load)
    duplicates: list[str] = []
    try:
        with open(path, encoding="utf-8-sig") as file:
            for record in stream_records(JsonStream(file, without_duplicates(duplicates))):
                name = printable(record.name)
                base = printable(_base_name(record.name))
                if record.shape == "map" and len(duplicates) < _MOST_NAMED and name in entries:
                    duplicates.append(name)
                entry = _entry(path.name + _SHAPES.get(record.shape, ""), record.fields)
                entries[name] = entry
                if base != name and base not in by_base_name:
                    by_base_name[base] = entry
    except (OSError, ValueError, RecursionError) as error:
        warnings.append(f"{path} was ignored, it is not JSON: {error}")
        return None
    for base, entry in by_base_name.items():
        if base not in entries:
            entries[base] = entry
    if duplicates:
        shown = duplicates[:_MOST_NAMED]
        warnings.append(f"{path} has ids more than once, the last counts: {shown}")
    return entries


def _read_config(path: Path, warnings: list[str]) -> dict[str, Any] | None:
    """The record of the one image beside which the file lies."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        warnings.append(f"{path} was ignored, it is not JSON: {error}")
        return None
    if not isinstance(value, dict):
        return None
    return value["prompt"] if isinstance(value.get("prompt"), dict) else value


def _entry(source: str, record: Mapping[str, Any]) -> Entry:
    prompt, category = record.get("prompt"), record.get("category")
    names = category if isinstance(category, list) else [category]
    return Entry(
        source=source,
        prompt=printable(prompt) if isinstance(prompt, str) else "",
        seed=record.get("seed"),
        categories=tuple(printable(name) for name in names if isinstance(name, str) and name),
        compute=compute_of(record),
    )


def _dump(entry: Entry) -> str:
    cost = compute_to_json(entry.compute)
    return json.dumps([entry.source, entry.prompt, entry.seed, entry.categories, cost])


def _load(text: str) -> Entry:
    source, prompt, seed, categories, cost = json.loads(text)
    return Entry(source, prompt, seed, tuple(categories), compute_from_json(cost))


def _base_name(name: str) -> str:
    """`results/cat.png` as `cat`; a dot that starts no image extension stays."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name
