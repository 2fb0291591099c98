"""Things that are kept to save work, within a limit in bytes; the oldest go first."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from base.files import write_atomic

T = TypeVar("T")


class BoundedMemory(Generic[T]):
    """Values in memory.

    Args:
        limit_bytes: how much they may take together. One that is larger alone is not kept.
    """

    def __init__(self, limit_bytes: int):
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> T | None:
        """The value, which counts as the newest from now on, or None."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: T, size_bytes: int) -> None:
        """Keep a value; others make room for it."""
        self.used_bytes += size_bytes - self._values.pop(key, (None, 0))[1]
        self._values[key] = value, size_bytes
        while self.used_bytes > self.limit_bytes:
            _, (_, size) = self._values.popitem(last=False)
            self.used_bytes -= size


class BoundedFolder:
    """Files in one folder. Several processes may share it, and each may evict.

    Args:
        path: the folder; it is made at the first write.
        limit_bytes: how much of the disk its files may take.
        suffixes: of the files that count, and that may be deleted.
    """

    def __init__(self, path: str | Path, limit_bytes: int, suffixes: tuple[str, ...]):
        self.path, self.limit_bytes, self.suffixes = Path(path), limit_bytes, suffixes
        self._used_bytes: int | None = None  # counted at the first write

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Let `write` fill the file of this name, and make room.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        if self._used_bytes is None:
            self._used_bytes = sum(size for _, size, _ in self._files())
        path = self.path / name
        self._used_bytes -= path.stat().st_size if path.is_file() else 0
        write_atomic(path, write)
        self._used_bytes += path.stat().st_size
        if self._used_bytes > self.limit_bytes:
            self._evict()

    def _files(self) -> list[tuple[int, int, Path]]:
        """(time of writing, bytes, path) of each file, oldest first."""
        files = []
        for path in self.path.glob("*.*"):
            if path.suffix in self.suffixes:
                with contextlib.suppress(FileNotFoundError):  # another process may evict, too
                    stat = path.stat()
                    files.append((stat.st_mtime_ns, stat.st_size, path))
        return sorted(files)

    def _evict(self) -> None:
        """Delete the oldest files down to nine tenths, so that not every write has to look."""
        files = self._files()
        used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if used <= 0.9 * self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            used -= size
        self._used_bytes = used
