"""A mapping that lies on disk, for what is known of each of many images.

It is a private database of SQLite in a temporary file that only comes into being when some
megabytes are in it, and goes with the process: memory does not grow with the number of keys.
"""

import sqlite3
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Generic, TypeVar

Value = TypeVar("Value")


class DiskMapping(Mapping[str, Value], Generic[Value]):
    """Texts and values, in the order of the texts; for one thread."""

    def __init__(
        self,
        dump: Callable[[Value], str | bytes],
        load: Callable[..., Value],
        pairs: Iterable[tuple[str, Value]] = (),
    ) -> None:
        """Start with some pairs; of two with one key the last counts.

        Args:
            dump: a value as text or bytes.
            load: the value again, from what `dump` gave.
            pairs: keys (valid Unicode) and values.
        """
        self._dump, self._load = dump, load
        self._database = sqlite3.connect("", isolation_level=None)  # "": on disk, without a name
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -1000")  # KiB; there are some of these
        self._database.execute("CREATE TABLE pairs (key BLOB PRIMARY KEY, value) WITHOUT ROWID")
        self._database.execute("BEGIN")
        rows = ((key.encode(), dump(value)) for key, value in pairs)
        self._database.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?)", rows)

    def __setitem__(self, key: str, value: Value) -> None:
        """Put a value in, in place of the one that the key has."""
        row = key.encode(), self._dump(value)
        self._database.execute("INSERT OR REPLACE INTO pairs VALUES (?, ?)", row)

    def __getitem__(self, key: str) -> Value:
        """The value of a key, or a `KeyError`."""
        query = "SELECT value FROM pairs WHERE key = ?"
        row = self._database.execute(query, (key.encode(),)).fetchone()
        if row is None:
            raise KeyError(key)
        return self._load(row[0])

    def __contains__(self, key: object) -> bool:
        """Whether there is such a key."""
        query = "SELECT 1 FROM pairs WHERE key = ?"
        found = isinstance(key, str) and self._database.execute(query, (key.encode(),)).fetchone()
        return bool(found)

    def __iter__(self) -> Iterator[str]:
        """The keys, sorted."""
        for (key,) in self._database.execute("SELECT key FROM pairs ORDER BY key"):
            yield key.decode()

    def __len__(self) -> int:
        """How many there are."""
        return int(self._database.execute("SELECT count(*) FROM pairs").fetchone()[0])

    def items(self) -> ItemsView[str, Value]:
        """Keys and values, sorted by key, read one after the other."""
        return _Items(self)

    def values(self) -> ValuesView[Value]:
        """The values, sorted by key, read one after the other."""
        return _Values(self)

    def pairs(self) -> Iterator[tuple[str, Value]]:
        """What `items` reads."""
        for key, value in self._database.execute("SELECT key, value FROM pairs ORDER BY key"):
            yield key.decode(), self._load(value)


class _Items(ItemsView[str, Value]):
    _mapping: DiskMapping[Value]

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return self._mapping.pairs()


class _Values(ValuesView[Value]):
    _mapping: DiskMapping[Value]

    def __iter__(self) -> Iterator[Value]:
        return (value for _, value in self._mapping.pairs())
