"""Prompt files: what to generate, read from text, JSON or JSON lines.

- `.txt`: one prompt a line; empty lines are skipped; ids are the line numbers.
- `.jsonl`: one object a line, `{"prompt": ..., "id": ..., "seed": ..., "category": ...,
  "negative_prompt": ...}`.
- `.json`: a list of such objects, or an object from id to prompt or to such an object, which is
  the form of `meta_data.json`, so that a folder of images can be made again under another
  controller.

Only `prompt` is needed. Ids become file names, so they are checked.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import DataError

MAX_SEED = 2**63 - 1
_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|meta_data|metadata|provenance)(\..*)?", re.I)


@dataclass(frozen=True)
class PromptRecord:
    """One output to make.

    Attributes:
        id: the file name without extension.
        prompt: the text.
        seed: the seed of its noise.
        category: what the comparison may group by.
        negative_prompt: what guidance leads away from, where the generator has such a thing.

    Raises:
        DataError: a seed outside of 0 to 2**63 - 1.
    """

    id: str
    prompt: str
    seed: int
    category: str | None = None
    negative_prompt: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise DataError(
                f"prompt {self.id}: its seed is {self.seed}; expected 0 to 2**63 - 1 (--seed is "
                "that of the first prompt without one)"
            )


def read_prompts(path: str | Path, first_seed: int = 0) -> list[PromptRecord]:
    """Read a prompt file.

    Args:
        path: a `.txt`, `.jsonl` or `.json` file.
        first_seed: prompts without a seed get `first_seed` plus their place in the file.

    Raises:
        DataError: the file is missing, empty or broken, an id repeats or cannot be a file name;
            the message names the line or the entry.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"prompt file {path} does not exist") from None
    except UnicodeDecodeError as error:
        raise DataError(f"prompt file {path} is not UTF-8 text: {error}") from None
    readers = {".txt": _read_text, ".jsonl": _read_json_lines, ".json": _read_json}
    if path.suffix not in readers:
        raise DataError(f"prompt file {path} ends in {path.suffix!r}; expected .txt, .jsonl, .json")
    records: list[PromptRecord] = []
    places: dict[str, str] = {}
    for place, default_id, entry in readers[path.suffix](path, text):
        record = _make_record(place, default_id, first_seed + len(records), entry)
        # Some file systems do not tell a.png from A.png.
        if record.id.casefold() in places:
            earlier = places[record.id.casefold()]
            raise DataError(f"{place}: id {record.id!r} is already used by {earlier}")
        places[record.id.casefold()] = place
        records.append(record)
    if not records:
        raise DataError(f"prompt file {path} holds no prompts")
    return records


def prompts_from_texts(texts: Sequence[str], first_seed: int = 0) -> list[PromptRecord]:
    """Prompts that were typed; each id is the beginning of its text, `a_red_circle`."""
    records: list[PromptRecord] = []
    for number, text in enumerate(texts):
        if not text.strip():
            raise DataError("a prompt is empty; write what to draw")
        words = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:60]
        taken = {record.id.casefold() for record in records}
        name = words if words and not _RESERVED.fullmatch(words) else f"{number + 1:05d}"
        if name.casefold() in taken:
            name = f"{name}_{number + 1:05d}"
        records.append(PromptRecord(name, text.strip(), first_seed + number))
    return records


Entry = tuple[str, str, Any]  # where it stands, the id it has when it names none, what it says


def _read_text(path: Path, text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {number}", f"{number:05d}", line.strip()


def _read_json_lines(path: Path, text: str) -> Iterator[Entry]:
    # Not splitlines: a JSON string may hold other line separators as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            yield place, f"{number:05d}", _load_json(place, line)


def _read_json(path: Path, text: str) -> Iterator[Entry]:
    value = _load_json(str(path), text)
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield f"{path}, entry {name!r}", name, entry
    elif isinstance(value, list):
        for number, entry in enumerate(value, start=1):
            yield f"{path}, entry {number}", f"{number:05d}", entry
    else:
        raise DataError(f"{path} holds {type(value).__name__}; expected a list or an object")


def _load_json(place: str, text: str) -> Any:
    def refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            names = [name for name, _ in pairs]
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise DataError(f"{place}: repeated {repeated}")
        return result

    try:
        return json.loads(text, object_pairs_hook=refuse_repeated)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON: {error}") from None


def _make_record(place: str, default_id: str, default_seed: int, entry: Any) -> PromptRecord:
    fields = {"prompt": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, Mapping):
        raise DataError(f"{place}: received {type(entry).__name__}; expected a text or an object")
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        raise DataError(f"{place}: 'prompt' is {prompt!r}; expected a text")
    seed = fields.get("seed", default_seed)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
        raise DataError(f"{place}: 'seed' is {seed!r}; expected a whole number from 0 to 2**63 - 1")
    for name in ("category", "negative_prompt"):
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            raise DataError(f"{place}: {name!r} is {value!r}; expected a text")
    identifier = _check_id(place, fields.get("id", default_id))
    return PromptRecord(
        identifier, prompt, seed, fields.get("category"), fields.get("negative_prompt")
    )


def _check_id(place: str, identifier: Any) -> str:
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    safe = isinstance(identifier, str) and _SAFE_ID.fullmatch(identifier)
    if not safe or identifier.endswith(".") or _RESERVED.fullmatch(identifier):
        raise DataError(
            f"{place}: id {identifier!r} cannot be a file name; use up to 100 letters a-z, "
            "digits, '_', '-' and '.' (not at the start or the end)"
        )
    return identifier
