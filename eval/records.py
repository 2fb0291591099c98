"""What a JSON file says of images, record by record, in whatever shape it says it.

Known shapes:

- `{id: {"prompt": ..., ...}}` or `{id: prompt}`
- `[{"id": ..., "prompt": ...}]`, also as JSON lines or under the key `prompts`; instead of `id`:
  `file`, `filename`, `file_name`, `name`, `prompt_name`, or a list `gen_image_paths`,
  `image_paths`, `paths`
- one such record alone

Ids are names, never opened: `../../x` is a name like any other.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from eval.folders import printable
from eval.json_stream import JsonStream

_NAMES = ("id", "file", "filename", "file_name", "name", "prompt_name")
_PATH_LISTS = ("gen_image_paths", "image_paths", "paths")
_MOST_OF_ONE_RECORD = 1000  # an object with more members is no single record


class Record(NamedTuple):
    """An id, the fields that go with it, and the shape: `map`, `list`, `lines` or `record`."""

    name: str
    fields: dict[str, Any]
    shape: str


def stream_records(stream: JsonStream) -> Iterator[Record]:
    """The records of a file, one after the other; what fits no shape is left out.

    Raises:
        ValueError: it is not JSON.
    """
    first = stream.peek()
    if first == "[":
        yield from _named(stream.items(), "list")
    elif first == "{":
        members = stream.members()
        head = list(islice(members, _MOST_OF_ONE_RECORD))
        whole = dict(head)
        if len(head) == _MOST_OF_ONE_RECORD:
            yield from _mapped(chain(head, members))
        elif stream.peek():
            yield from _named(chain([whole], stream.values()), "lines")
        elif isinstance(whole.get("prompts"), list):
            yield from _named(whole["prompts"], "record")
        elif _names(whole) and isinstance(whole.get("prompt"), str):
            yield from _named([whole], "record")
        else:
            yield from _mapped(head)
    else:
        stream.value()
    stream.end()


def without_duplicates(duplicates: list[str], most: int = 5) -> Any:
    """A hook for JSON objects that keeps the last of equal names and notes the first few."""

    def keep_last(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs) and len(duplicates) < most:
            names = [name for name, _ in pairs]
            duplicates.extend(printable(name) for name in result if names.count(name) > 1)
        return result

    return keep_last


def _mapped(members: Iterable[tuple[str, Any]]) -> Iterator[Record]:
    for name, value in members:
        if isinstance(value, str):
            yield Record(name, {"prompt": value}, "map")
        elif isinstance(value, dict):
            yield Record(name, value, "map")


def _named(values: Iterable[Any], shape: str) -> Iterator[Record]:
    for value in values:
        if isinstance(value, dict):
            yield from (Record(name, value, shape) for name in _names(value))


def _names(record: dict[str, Any]) -> list[str]:
    names = [record[field] for field in _NAMES if isinstance(record.get(field), str)]
    for field in _PATH_LISTS:
        paths = record.get(field)
        names += (
            [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
        )
    return names
