"""Scores on disk as soon as they are known: a run that was killed goes on where it stopped.

A journal is a file of JSON lines. The first says what is being compared, and under which settings;
each further one holds the scores of one key in all folders.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from base.files import write_atomic
from eval.comparison import Comparison
from eval.metrics.protocol import Metric
from eval.scoring import Score, ScoringSettings

logger = logging.getLogger(__name__)

_CHANGES_NO_SCORE = ("batch_size", "workers", "on_bad_image")


class Journal:
    """The scores of a run that is not finished, in the order of the keys."""

    def __init__(self, path: Path, identity: str) -> None:
        """Open a journal, or start one anew if there is none of this identity.

        Args:
            path: the file.
            identity: from `identity_of`.
        """
        self._path = path
        self._header = json.dumps({"format": 1, "identity": identity}).encode() + b"\n"
        if not self._is_mine():
            write_atomic(path, lambda target: target.write_bytes(self._header))
        self._cut_unfinished_line()
        self._file = path.open("ab")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def finished(self) -> Iterator[list[Score]]:
        """The scores of each key that was finished before, in all folders."""
        with open(self._path, "rb") as file:
            next(file)
            for line in file:
                yield [Score(*fields) for fields in json.loads(line)]

    def append(self, scores: Sequence[Score], folders: int) -> None:
        """Write the scores of some keys, `folders` of each; when this returns they are on disk."""
        for start in range(0, len(scores), folders):
            line = json.dumps(scores[start : start + folders], allow_nan=False)
            self._file.write(line.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _is_mine(self) -> bool:
        if not self._path.is_file():
            return False
        with open(self._path, "rb") as file:
            mine = file.readline() == self._header
        if not mine:
            logger.warning("%s is of other images or settings: starting anew", self._path)
        return mine

    def _cut_unfinished_line(self) -> None:
        """A run that was killed while it wrote leaves half a line at the end."""
        with open(self._path, "rb+") as file:
            end = 0
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(end)
                    return
                end += len(line)


def identity_of(
    comparison: Comparison, metrics: Sequence[Metric], settings: ScoringSettings
) -> str:
    """A hash of all that scores depend on: files (by size and time), prompts, settings, metrics."""
    chosen = {k: v for k, v in asdict(settings).items() if k not in _CHANGES_NO_SCORE}
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
    for metric in metrics:
        digest.update(f"{metric.name}\0{metric.provenance}\0".encode())
    for name, folder in comparison.folders.items():
        digest.update(f"{name}\0{folder.path.resolve()}\0".encode("utf-8", "surrogateescape"))
        for key, file in folder.images.items():
            state = os.stat(file)
            digest.update(
                f"{key}\0{file.name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(
                    "utf-8", "surrogateescape"
                )
            )
    for key in comparison.keys:
        digest.update(f"{comparison.prompts[key].text}\0".encode())
    return digest.hexdigest()
