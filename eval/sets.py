"""Figures of whole folders instead of single images: FID and KID between a candidate and Original.

Both compare distributions, not pairs, and need many images: below some thousands FID is biased
upwards. They come from the package clean-fid (Parmar et al. 2022) with its resizing; the Inception
weights must lie on this machine, nothing is downloaded.
"""

import random
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch

from base.cache_folder import cache_folder
from base.torchvision_stub import import_torchvision
from eval.comparison import ORIGINAL, Comparison
from eval.images import decode
from eval.metrics.protocol import MetricUnavailableError
from eval.scoring import OK

SET_FIGURES = ("fid", "kid")
WEIGHTS = "inception-2015-12-05.pt"

_INPUT_SIDE = 299
_IMAGES_AT_A_TIME = 16
_MOST_FEATURES = 10_000  # that are kept for KID; FID rests on all images


class SetMetric(Protocol):
    """Anything that gives figures to each candidate as a whole; `CleanFid` is one."""

    figures: Sequence[str]
    provenance: str

    def __call__(
        self, comparison: Comparison, table: pd.DataFrame, alpha: str
    ) -> dict[str, dict[str, float | None]]:
        """By figure and candidate."""


def make_set_metric(figures: Sequence[str], device: str) -> tuple[SetMetric | None, dict[str, str]]:
    """What computes these figures of sets, or the reason for each why it cannot be computed."""
    try:
        return (CleanFid(figures, device) if figures else None), {}
    except MetricUnavailableError as error:
        return None, dict.fromkeys(figures, str(error))


class CleanFid:
    """FID and KID as the package clean-fid computes them in its mode `clean`.

    Attributes:
        provenance: the definition in words.
    """

    def __init__(
        self,
        figures: Sequence[str] = SET_FIGURES,
        device: str = "cpu",
        folder: Path | None = None,
    ) -> None:
        """Load the package and the Inception network.

        Args:
            figures: those that are asked for: `fid`, `kid`.
            device: where the network runs.
            folder: holds `inception-2015-12-05.pt`; None is the project's cache.

        Raises:
            MetricUnavailableError: the package or the weights are missing or damaged.
        """
        self.figures = figures
        folder = folder or cache_folder()
        try:
            import_torchvision()
            from cleanfid import fid
            from cleanfid.inception_torchscript import InceptionV3W
            from cleanfid.resize import make_resizer
        except ImportError as error:
            raise MetricUnavailableError(f"FID and KID need the package {error.name}") from None
        if not (folder / WEIGHTS).is_file():
            raise MetricUnavailableError(f"no Inception weights: there is no {folder / WEIGHTS}")
        try:
            network = InceptionV3W(str(folder), download=False, resize_inside=False)
        except Exception as error:  # a damaged file fails in whatever way it likes
            raise MetricUnavailableError(f"{folder / WEIGHTS}: {error}") from None
        self._network = network.eval().to(device)
        self._resize = make_resizer("PIL", False, "bicubic", (_INPUT_SIDE, _INPUT_SIDE))
        self._package, self._device = fid, device
        self.provenance = (
            f"clean-fid {version('clean-fid')}, mode clean, between the images of the candidate "
            f"and of {ORIGINAL}; KID from at most {_MOST_FEATURES} images of each"
        )

    def __call__(
        self,
        comparison: Comparison,
        table: pd.DataFrame,
        alpha: str = "drop",
    ) -> dict[str, dict[str, float | None]]:
        """FID and KID of each candidate against Original, over the images that both have.

        Args:
            comparison: what is compared.
            table: which images are readable, by the column `status`.
            alpha: what happens to transparency.

        Returns:
            By figure and candidate; None for fewer than two images.
        """
        values: dict[str, dict[str, float | None]] = {figure: {} for figure in SET_FIGURES}
        for name in comparison.candidates:
            own = table[(table["folder"] == name) & (table["status"] == OK)]
            keys = own["id"].tolist()
            if len(keys) < 2:
                values["fid"][name] = values["kid"][name] = None
                continue
            (mean, spread, some), (its_mean, its_spread, its_some) = (
                self._statistics([comparison.folders[f].images[k] for k in keys], alpha)
                for f in (ORIGINAL, name)
            )
            distance = self._package.frechet_distance(mean, spread, its_mean, its_spread)
            values["fid"][name] = float(distance)
            state = np.random.get_state()  # the package draws from this one
            np.random.seed(0)
            values["kid"][name] = float(self._package.kernel_distance(some, its_some))
            np.random.set_state(state)
        return {figure: values[figure] for figure in self.figures}

    def _statistics(
        self, files: Sequence[Path], alpha: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean [F] and covariance [F, F] of the features of all files, and [n, F] of some."""
        kept = set(random.Random(0).sample(range(len(files)), min(len(files), _MOST_FEATURES)))
        total: np.ndarray | float = 0.0
        products: np.ndarray | float = 0.0
        some = []
        for start in range(0, len(files), _IMAGES_AT_A_TIME):
            group = files[start : start + _IMAGES_AT_A_TIME]
            features = self._features(group, alpha)
            total, products = total + features.sum(0), products + features.T @ features
            some += [row for index, row in enumerate(features, start) if index in kept]
        mean = np.asarray(total) / len(files)
        spread = (products - len(files) * np.outer(mean, mean)) / (len(files) - 1)
        return mean, spread, np.stack(some)

    @torch.inference_mode()
    def _features(self, files: Sequence[Path], alpha: str) -> np.ndarray:
        pictures = [self._resize(decode(file, alpha).pixels) for file in files]  # [299, 299, 3]
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
        return self._network(batch.to(self._device)).double().cpu().numpy()  # [B, 2048]
