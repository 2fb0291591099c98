"""A JSON file of any size, one member at a time."""

import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

_CHARACTERS_AT_A_TIME = 2**16
_IN_NUMBERS = "+-.eE0123456789"
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonStream:
    """Reads a text from its beginning; only the value that is read next is in memory."""

    def __init__(self, file: IO[str], object_pairs_hook: Callable[..., Any] | None = None) -> None:
        """Start at the beginning.

        Args:
            file: open for reading.
            object_pairs_hook: makes objects of pairs, as in `json.loads`.
        """
        self._file, self._text, self._at, self._before = file, "", 0, 0
        self._decode = json.JSONDecoder(object_pairs_hook=object_pairs_hook).raw_decode

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def value(self) -> Any:
        """The next value, whole.

        Raises:
            ValueError: there is none; names the place.
        """
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._read_more():
                    continue
                raise self._error(error.msg, error.pos) from None
            whole = self._text[end : end + 1].strip(_IN_NUMBERS) != ""
            if whole or not self._read_more():  # a number may go on in what was not read yet
                self._at = end
                return value

    def values(self) -> Iterator[Any]:
        """All values that follow, with nothing but space between them."""
        while self.peek():
            yield self.value()

    def items(self) -> Iterator[Any]:
        """The items of an array that begins here."""
        for _ in self._places("[", "]"):
            yield self.value()

    def members(self) -> Iterator[tuple[str, Any]]:
        """The names and values of an object that begins here; a name can come twice."""
        for _ in self._places("{", "}"):
            if self.peek() != '"':
                raise self._error("expected a name in quotes", self._at)
            name = self.value()
            self._take(":")
            yield name, self.value()

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self._error("extra data", self._at)

    def _places(self, opening: str, closing: str) -> Iterator[None]:
        """Once for each part of something that is bracketed, when it comes next."""
        self._take(opening)
        if self.peek() != closing:
            yield
            while self.peek() == ",":
                self._take(",")
                yield
        self._take(closing)

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._error(f"expected {character!r}", self._at)
        self._at += 1

    def _read_more(self) -> bool:
        """Put more text behind what is not yet read; False at the end of the file."""
        rest = len(self._text) - self._at
        more = self._file.read(max(_CHARACTERS_AT_A_TIME, rest))
        if more:
            self._before += self._at
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _error(self, text: str, place: int) -> ValueError:
        return ValueError(f"{text} at character {self._before + place}")
