"""Drawn scenes to train on: pictures, outlines and segmentation, and what a caption's tokens are.

Shapes: P scenes, S = SIDE pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from base.files import write_array
from scenes.maps import CLASSES, outlines, segmentation
from scenes.render import SIDE, object_mask, render
from scenes.world import Scene, Split, draw_scenes

RGB, EDGES, CLASS_MAP = f"tok_rgb@{SIDE}", f"tok_sam_edge@{SIDE}", f"tok_semseg@{SIDE}"
_ARRAYS = ("images", "masks", "edges", "classes")
CHANNELS = {RGB: 3, EDGES: 1, CLASS_MAP: len(CLASSES)}


@dataclass(frozen=True)
class Pictures:
    """Scenes as pictures.

    Attributes:
        scenes: P of them.
        images: [P, S, S, 3] uint8.
        masks: [P, S, S] float16 coverage by objects.
        edges: [P, S, S] bool.
        classes: [P, S, S] uint8, numbers of `CLASSES`.
    """

    scenes: tuple[Scene, ...]
    images: np.ndarray
    masks: np.ndarray
    edges: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scenes)

    def values(self, name: str, rows: Any) -> Tensor:
        """What a tokenizer takes, [B, C, S, S] float32 in [-1, 1]."""
        if name == RGB:
            images = torch.tensor(self.images[rows]).permute(0, 3, 1, 2)
            return images.float() / 127.5 - 1.0
        if name == EDGES:
            return torch.tensor(self.edges[rows])[:, None].float() * 2.0 - 1.0
        classes = torch.tensor(self.classes[rows]).long()
        return F.one_hot(classes, len(CLASSES)).permute(0, 3, 1, 2).float() * 2.0 - 1.0

    def weights(self, name: str, rows: Any, objects: float) -> Tensor:
        """How much each pixel counts, [B, 1, S, S]: `objects` more inside objects or on edges."""
        extra = self.edges if name == EDGES else self.masks
        return 1.0 + objects * torch.tensor(extra[rows], dtype=torch.float32)[:, None]


def draw_pictures(scenes: Sequence[Scene], seeds: Sequence[int]) -> Pictures:
    """Draw scenes under seeds, which move the objects a little."""
    pairs = list(zip(scenes, seeds, strict=True))
    return Pictures(
        tuple(scenes),
        np.stack([render(*pair) for pair in pairs]),
        np.stack([object_mask(*pair) for pair in pairs]).astype(np.float16),
        np.stack([outlines(*pair) for pair in pairs]),
        np.stack([segmentation(*pair) for pair in pairs]),
    )


def random_pictures(split: Split, count: int, seed: int) -> Pictures:
    """Scenes of a split by lot; the same ones for the same seed."""
    return draw_pictures(*_by_lot(split, count, seed))


def stored_pictures(folder: Path, split: Split, count: int, seed: int) -> Pictures:
    """The same, kept in a folder, so that several processes draw them once."""
    files = {name: folder / f"{split}_{count}_{seed}_{name}.npy" for name in _ARRAYS}
    if not all(file.exists() for file in files.values()):
        drawn = random_pictures(split, count, seed)
        for name, file in files.items():
            write_array(file, getattr(drawn, name))
    scenes, _ = _by_lot(split, count, seed)
    arrays = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
    return Pictures(tuple(scenes), **arrays)


def _by_lot(split: Split, count: int, seed: int) -> tuple[list[Scene], list[int]]:
    rng = np.random.default_rng([4, seed])
    scenes = draw_scenes(split, count, rng)
    return scenes, rng.integers(2**31, size=count).tolist()
