"""How long each image took, where its metadata do not say: from a table, or from logs beside it.

A table is CSV with the columns `folder`, `id`, `latency_ms`, or JSON `{folder: {id: latency_ms}}`;
a folder is named as in the comparison (`Original`, `FAST`, ...). A log has lines `id: seconds`, as
the predecessor's programs write them.
"""

import csv
import math
import re
from pathlib import Path
from typing import Any

from base.errors import DataError
from base.files import read_json
from eval.folders import ImageFolder, printable

LOGS = ("runtime.txt", "consume_time.txt")

_LINE = re.compile(r"\s*(.+?)\s*:\s*([0-9.eE+-]+)\s*")


def read_timings(path: str | Path) -> dict[str, dict[str, float]]:
    """Milliseconds by folder and image, from a table.

    Raises:
        DataError: the file is missing, has another form, or a time that is no positive number.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
            raise DataError(f"{path} holds something else than {{folder: {{id: latency_ms}}}}")
        rows = [(folder, key, ms) for folder, own in content.items() for key, ms in own.items()]
    else:
        rows = _csv_rows(path)
    timings: dict[str, dict[str, float]] = {}
    for folder, key, value in rows:
        ms = _positive(value)
        if ms is None:
            raise DataError(f"{path}: image {key!r} of {folder!r} took {value!r}; expected ms")
        timings.setdefault(printable(folder), {})[printable(key)] = ms
    return timings


def logged_timings(folder: ImageFolder) -> dict[str, float]:
    """Milliseconds by image, from the first of `LOGS` that lies in the folder.

    Lines of other forms do not count, of two about one image the last does; `0007` is also `7`.
    """
    for name in LOGS:
        file = folder.path / name
        if not file.is_file():
            continue
        found = {}
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            match = _LINE.fullmatch(line)
            seconds = _positive(match[2]) if match else None
            if match and seconds is not None:
                key = printable(match[1])
                plain = key.lstrip("0") or "0"
                found[key if key in folder.images else plain] = 1000 * seconds
        return {key: ms for key, ms in found.items() if key in folder.images}
    return {}


def _csv_rows(path: Path) -> list[tuple[str, str, str]]:
    columns = ("folder", "id", "latency_ms")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise DataError(f"{path} has the columns {reader.fieldnames}; expected {columns}")
            return [(row["folder"], row["id"], row["latency_ms"]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
