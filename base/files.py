"""Files that can be trusted: written under a temporary name in the same folder, then renamed."""

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import DataError

# what NumPy raises over an .npz that is missing, cut short or changed
DAMAGED_ARRAYS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def write_atomic(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file, then put it in place of `path` in one step.

    A reader sees the old file or the new one, never half of one, whatever kills the writer.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        write(Path(temporary))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write `value` as indented UTF-8 JSON. NaN and inf are refused: they are not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_atomic(path, lambda target: target.write_text(text, encoding="utf-8"))


def write_array(path: str | Path, values: NDArray[Any]) -> Path:
    """Write one array as `.npy`."""

    def write(target: Path) -> None:
        with open(target, "wb") as file:  # given a name, NumPy would add a suffix
            np.save(file, values)

    return write_atomic(path, write)


def write_arrays(path: str | Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays, by name, as one compressed `.npz`."""

    def write(target: Path) -> None:
        with open(target, "wb") as file:
            np.savez_compressed(file, **arrays)

    return write_atomic(path, write)


def read_json(path: str | Path) -> Any:
    """Read a UTF-8 JSON file (a byte-order mark is tolerated).

    Raises:
        DataError: the file is missing or is not JSON; the message names file, line and column.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not valid UTF-8 JSON: {error}") from None
