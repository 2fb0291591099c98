"""Scores as columns: what is kept of a hundred thousand images are some megabytes of numbers.

Rows come in the order of the keys, all folders of a key together, so that neither needs to be kept.
"""

import math
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from eval.metrics.protocol import Metric
from eval.scoring import Score

HASH_BYTES = 32

_TEXTS = ("status", "detail", "reasons")
_FLAGS = ("identical", "has_alpha", "lossy")


class Rows:
    """One row for each image of each folder."""

    def __init__(
        self, keys: Sequence[str], folders: Sequence[str], metrics: Sequence[Metric]
    ) -> None:
        """Start without a row.

        Args:
            keys: of all images, in the order in which they will come.
            folders: the names of the folders, in the order in which they come for each key.
            metrics: give the columns of figures.
        """
        self._keys, self._folders = keys, tuple(folders)
        self._texts = {name: _Texts() for name in _TEXTS}
        self._flags = {name: array("b") for name in _FLAGS}
        self._figures = {metric.name: array("d") for metric in metrics}
        self._hashes = bytearray()

    def __len__(self) -> int:
        return len(self._texts["status"].codes)

    def add(self, scores: Iterable[Score]) -> None:
        """Append the scores of the next images."""
        for score in scores:
            texts = score.status, score.detail, _reasons(score)
            for name, text in zip(_TEXTS, texts, strict=True):
                self._texts[name].append(text)
            flags = (
                -1 if score.identical is None else score.identical,
                score.has_alpha,
                score.lossy,
            )
            for name, flag in zip(_FLAGS, flags, strict=True):
                self._flags[name].append(flag)
            for name, values in self._figures.items():
                value = score.values.get(name)
                values.append(math.nan if value is None else value)
            self._hashes += bytes.fromhex(score.file_sha256) or bytes(HASH_BYTES)

    def table(self) -> pd.DataFrame:
        """The rows, in the order in which they came.

        Returns:
            Columns id, folder, status, identical (no value without a pair), one for each metric
            (NaN where it was not computed), detail, reasons, has_alpha and lossy.
        """
        flags = {name: np.array(values, dtype=np.int8) for name, values in self._flags.items()}
        keys = np.array(self._keys[: len(self) // len(self._folders)], dtype=object)
        folders = np.tile(np.arange(len(self._folders)), len(keys))
        texts = {name: values.column() for name, values in self._texts.items()}
        return pd.DataFrame(
            {
                "id": keys.repeat(len(self._folders)),
                "folder": pd.Categorical.from_codes(folders, self._folders),
                "status": texts["status"],
                "identical": pd.arrays.BooleanArray(
                    flags["identical"] == 1, flags["identical"] == -1
                ),
                **{name: np.frombuffer(values) for name, values in self._figures.items()},
                **{name: texts[name] for name in ("detail", "reasons")},
                **{name: flags[name].astype(bool) for name in ("has_alpha", "lossy")},
            },
            copy=False,
        )

    def file_hashes(self) -> np.ndarray:
        """SHA-256 of the files, uint8 [keys, folders, 32]; zeros where there is no file."""
        hashes = np.frombuffer(self._hashes, dtype=np.uint8)
        return hashes.reshape(-1, len(self._folders), HASH_BYTES)


class _Texts:
    """A column of texts of which few differ."""

    def __init__(self) -> None:
        self.codes = array("i")
        self._known: dict[str, int] = {}

    def append(self, text: str) -> None:
        self.codes.append(self._known.setdefault(text, len(self._known)))

    def column(self) -> pd.Categorical:
        return pd.Categorical.from_codes(np.array(self.codes), list(self._known))


def _reasons(score: Score) -> str:
    """The reasons that say more than the status, such as `psnr=identical; ms_ssim=too_small`."""
    own = (f"{name}={why}" for name, why in score.reasons.items() if why != score.status)
    return "; ".join(own)


def parsed_reasons(text: str) -> dict[str, str]:
    """By figure, from a text of the column `reasons`."""
    return dict(part.split("=", 1) for part in text.split("; ") if part)  # type: ignore[misc]
