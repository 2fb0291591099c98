"""Scores as columns: what is kept of a hundred thousand images is a hundred megabytes.

Numbers lie in arrays, and equal texts are one object.
"""

import math
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from eval.metrics.protocol import Metric
from eval.scoring import Score

_TEXTS = ("id", "folder", "status", "detail", "reasons", "file_sha256")
_FLAGS = ("identical", "has_alpha", "lossy")


class Rows:
    """One row for each image of each folder."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        """Start without a row; the metrics give the columns of figures."""
        self._texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self._flags = {name: array("b") for name in _FLAGS}
        self._figures = {metric.name: array("d") for metric in metrics}
        self._known: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._texts["id"])

    def add(self, scores: Iterable[Score]) -> None:
        """Append the scores of some images."""
        for score in scores:
            texts = (score.key, score.folder, score.status, score.detail, _reasons(score))
            for name, text in zip(_TEXTS, texts, strict=False):
                self._texts[name].append(self._known.setdefault(text, text))
            self._texts["file_sha256"].append(score.file_sha256)
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

    def table(self) -> pd.DataFrame:
        """The rows, in the order in which they came.

        Returns:
            Columns id, folder, status, identical (no value without a pair), one for each metric
            (NaN where it was not computed), detail, reasons, file_sha256, has_alpha and lossy.
        """
        flags = {name: np.array(values, dtype=np.int8) for name, values in self._flags.items()}
        return pd.DataFrame(
            {
                **{name: self._texts[name] for name in ("id", "folder", "status")},
                "identical": pd.arrays.BooleanArray(
                    flags["identical"] == 1, flags["identical"] == -1
                ),
                **{name: np.array(values) for name, values in self._figures.items()},
                **{name: self._texts[name] for name in ("detail", "reasons", "file_sha256")},
                **{name: flags[name].astype(bool) for name in ("has_alpha", "lossy")},
            }
        )


def _reasons(score: Score) -> str:
    """The reasons that say more than the status, such as `psnr=identical; ms_ssim=too_small`."""
    own = (f"{name}={why}" for name, why in score.reasons.items() if why != score.status)
    return "; ".join(own)


def parsed_reasons(text: str) -> dict[str, str]:
    """By figure, from a text of the column `reasons`."""
    return dict(part.split("=", 1) for part in text.split("; ") if part)  # type: ignore[misc]
