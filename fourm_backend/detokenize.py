"""From tokens to pictures that a person can look at, where a tokenizer is at hand.

A tokenizer is loaded when it is first needed. One that is missing, or that this package cannot run
(diffusion decoders, which are the published tokenizers of RGB, depth, normals and edges), is named
once in a warning, and the tokens stay what they are.

Shapes: h x w cells, H x W pixels, C channels.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from base.errors import CheckpointError, DataError
from fourm_backend.modalities import Modality
from fourm_backend.tokenizer import VQTokenizer

logger = logging.getLogger(__name__)

SETTINGS = {  # transform key to the setting that names its tokenizer
    "tok_rgb": "rgb_tok_id",
    "tok_depth": "depth_tok_id",
    "tok_normal": "normal_tok_id",
    "tok_canny_edge": "edges_tok_id",
    "tok_sam_edge": "edges_tok_id",
    "tok_semseg": "semseg_tok_id",
    "tok_clip": "clip_tok_id",
    "tok_dinov2": "dinov2_tok_id",
    "tok_imagebind": "imagebind_tok_id",
}
_FEATURES = ("tok_clip", "tok_dinov2", "tok_imagebind")


class Detokenizers:
    """Tokenizers by transform key (the part of a modality's name before `@`).

    Args:
        sources: where each lies: a `.safetensors` file, or a folder with `model.safetensors`.
        device: where they run.
    """

    def __init__(self, sources: Mapping[str, str], device: str = "cpu"):
        self.sources, self.device = dict(sources), device
        self._loaded: dict[str, VQTokenizer | None] = {}

    def tokenizer(self, key: str) -> VQTokenizer | None:
        """The tokenizer of a transform key; None where there is none that runs here."""
        if key not in self._loaded:
            self._loaded[key] = self._load(key)
        return self._loaded[key]

    def _load(self, key: str) -> VQTokenizer | None:
        if key not in self.sources:
            setting = SETTINGS.get(key)
            hint = f"; {setting} names one" if setting else ""
            logger.warning("no tokenizer for %s: its tokens are kept as numbers%s", key, hint)
            return None
        path = Path(self.sources[key])
        path = path / "model.safetensors" if path.is_dir() else path
        try:
            return VQTokenizer.from_file(path).to(self.device)
        except CheckpointError as error:
            logger.warning("%s tokens are kept as numbers: %s", key, error)
            return None

    @torch.no_grad()
    def picture(self, modality: Modality, tokens: np.ndarray) -> np.ndarray | None:
        """[H, W, 3] uint8 of tokens [h, w]; None without a tokenizer.

        Raises:
            DataError: tokens that are not of this tokenizer.
        """
        key = modality.name.partition("@")[0]
        tokenizer = self.tokenizer(key)
        if tokenizer is None:
            return None
        if len(tokenizer.settings.grid) != 2:
            raise DataError(f"the tokenizer of {key} is not one of pictures")
        ids = torch.from_numpy(np.asarray(tokens).reshape(1, -1).astype(np.int64))
        return as_picture(key, tokenizer.decode(ids.to(self.device))[0].float().cpu())


def as_picture(key: str, values: Tensor) -> np.ndarray:
    """[H, W, 3] uint8 of what a tokenizer gives, [C, H, W]."""
    if key == "tok_depth":
        return coloured(values.mean(0).numpy())
    if key == "tok_semseg":
        return CLASSES[values.argmax(0).numpy() % len(CLASSES)]
    if values.shape[0] == 1:
        values = values.expand(3, -1, -1)  # grey
    if key in _FEATURES or values.shape[0] != 3:
        return principal_colours(values)
    levels = ((values.clamp(-1.0, 1.0) + 1.0) * 127.5).round()
    return levels.movedim(0, -1).to(torch.uint8).numpy()


def coloured(values: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 of numbers [H, W]: from the smallest (blue) to the largest (red)."""
    from matplotlib import colormaps

    spread = max(float(values.max() - values.min()), 1e-8)
    colours = colormaps["turbo"]((values - values.min()) / spread)
    return np.rint(colours[..., :3] * 255).astype(np.uint8)


def principal_colours(values: Tensor) -> np.ndarray:
    """[H, W, 3] uint8 of vectors [C, H, W]: their three principal components as colours."""
    vectors = values.flatten(1).T  # [H * W, C]
    vectors = vectors - vectors.mean(0)
    count = min(3, *vectors.shape)
    parts = vectors @ torch.linalg.svd(vectors, full_matrices=False).Vh[:count].T
    low, high = parts.amin(0), parts.amax(0)
    shares = (parts - low) / (high - low).clamp(min=1e-8)
    shares = torch.nn.functional.pad(shares, (0, 3 - count))
    return (shares * 255).round().to(torch.uint8).numpy().reshape(*values.shape[1:], 3)


def _class_colours() -> np.ndarray:
    """One colour a class; class 0 is nothing, and black."""
    colours = np.random.default_rng(7).integers(40, 256, size=(256, 3), dtype=np.uint8)
    colours[0] = 0
    return colours


CLASSES = _class_colours()
