"""What is known of each image besides its pixels: the JSON files that lie in a folder of images.

Read are, and the first that parses wins as a whole: `meta_data.json`, `metadata.json`, and for
folders of the nested layout each image's own `config.json`, then `config_all.json`. Shapes:

- `{id: {"prompt": ..., ...}}` or `{id: prompt}`
- `[{"id": ..., "prompt": ...}]`, also as JSON lines or under the key `prompts`; instead of `id`:
  `file`, `filename`, `file_name`, `name`, `prompt_name`, or a list `gen_image_paths`,
  `image_paths`, `paths`
- `{"prompt": {"prompt": ...}}` (`config.json`: one image)

Ids are looked up, never opened: `../../x` is a name like any other. Of each record only what is
used is kept, so that a hundred thousand of them fit into memory.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from eval.compute import Compute, StageDecision, compute_of, decision_of, seen_before
from eval.folders import EXTENSIONS, ImageFolder, printable

_NAMES = ("id", "file", "filename", "file_name", "name", "prompt_name")
_PATH_LISTS = ("gen_image_paths", "image_paths", "paths")


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

    entries: dict[str, Entry]
    warnings: tuple[str, ...] = ()


def read_metadata(folder: ImageFolder) -> Metadata:
    """Read whatever metadata a folder of images has. Broken files are warnings, not errors."""
    warnings: list[str] = []
    for name in ("meta_data.json", "metadata.json"):
        value, shape = _load(folder.path / name, warnings)
        if value is not None:
            return Metadata(_by_key(value, f"{name}{shape}"), tuple(warnings))
    if folder.layout == "flat":
        return Metadata({}, tuple(warnings))
    value, shape = _load(folder.path / "config_all.json", warnings)
    entries = _by_key(value, f"config_all.json{shape}")
    for key, image in folder.images.items():
        value, _ = _load(image.parent / "config.json", warnings)
        if isinstance(value, dict):
            prompt = value.get("prompt")
            record = prompt if isinstance(prompt, dict) else value
            entries[key] = _entry("config.json", record)
    return Metadata(entries, tuple(warnings))


def _load(path: Path, warnings: list[str]) -> tuple[Any, str]:
    """The JSON value of a file and its shape; (None, "") if it is missing or cannot be used."""
    if not path.is_file():
        return None, ""
    duplicates: list[str] = []
    try:
        value, shape = _parse(path.read_bytes().decode("utf-8-sig"), duplicates)
    except (OSError, ValueError, RecursionError) as error:
        warnings.append(f"{path} was ignored, it is not JSON: {error}")
        return None, ""
    if duplicates:
        warnings.append(f"{path} has ids more than once, the last counts: {duplicates[:5]}")
    return value, shape


def _by_key(value: Any, source: str) -> dict[str, Entry]:
    """Entries by id as it is written, and where no other has that id, by its base name."""
    entries: dict[str, Entry] = {}
    by_base_name: dict[str, Entry] = {}
    for name, record in records(value):
        entry = _entry(source, record)
        entries[printable(name)] = entry
        by_base_name.setdefault(printable(_base_name(name)), entry)
    return by_base_name | entries


def _entry(source: str, record: dict[str, Any]) -> Entry:
    prompt, category = record.get("prompt"), record.get("category")
    names = category if isinstance(category, list) else [category]
    return Entry(
        source=source,
        prompt=printable(prompt) if isinstance(prompt, str) else "",
        seed=record.get("seed"),
        categories=seen_before(
            tuple(printable(name) for name in names if isinstance(name, str) and name)
        ),
        compute=compute_of(record),
    )


def _parse(text: str, duplicates: list[str]) -> tuple[Any, str]:
    def keep_last(pairs: list[tuple[str, Any]]) -> dict[str, Any] | StageDecision:
        result: dict[str, Any] = {}
        for name, value in pairs:
            if name in result:
                duplicates.append(printable(name))
            result[name] = value
        return decision_of(result) or result  # at once: as JSON objects they take ten times more

    try:
        value = json.loads(text, object_pairs_hook=keep_last)
    except json.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [json.loads(line, object_pairs_hook=keep_last) for line in lines], " (lines)"
    return value, " (list)" if isinstance(value, list) else ""


def records(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every (id, record) in a JSON value of one of the shapes above; what fits none is left out."""
    if isinstance(value, dict) and isinstance(value.get("prompts"), list):
        value = value["prompts"]
    elif isinstance(value, dict) and _names(value) and isinstance(value.get("prompt"), str):
        value = [value]
    if isinstance(value, list):
        for record in value:
            if isinstance(record, dict):
                yield from ((name, record) for name in _names(record))
    elif isinstance(value, dict):
        for name, record in value.items():
            if isinstance(record, str):
                yield name, {"prompt": record}
            elif isinstance(record, dict):
                yield name, record


def _names(record: dict[str, Any]) -> list[str]:
    names = [record[field] for field in _NAMES if isinstance(record.get(field), str)]
    for field in _PATH_LISTS:
        paths = record.get(field)
        names += (
            [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
        )
    return names


def _base_name(name: str) -> str:
    """`results/cat.png` as `cat`; a dot that starts no image extension stays."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name
