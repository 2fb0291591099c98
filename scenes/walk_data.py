"""The walks of the training split, drawn once and kept on disk; and as tokenizers take them.

Shapes: W walks, F frames, S = SIDE pixels, T steps.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fourm_backend.motion import camera_input
from fourm_backend.video import depth_values, pad_frames, picture_values
from scenes.walk import FARTHEST, FRAMES, NEAREST, SIDE, STEPS, Walk, draw_walk
from scenes.world import Split, draw_scenes

log = logging.getLogger(__name__)

MODALITIES = ("tok_rgb", "tok_depth", "tok_cam")
_FILES = {
    "frames": ((FRAMES, SIDE, SIDE, 3), np.uint8),
    "depth_m": ((FRAMES, SIDE, SIDE), np.float16),
    "poses": ((STEPS, 4, 4), np.float32),
}


@dataclass(frozen=True)
class Walks:
    """Many walks.

    Attributes:
        frames: [W, F, S, S, 3] uint8.
        depth_m: [W, F, S, S].
        poses: [W, T, 4, 4] float32.
    """

    frames: np.ndarray
    depth_m: np.ndarray
    poses: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def values(self, modality: str, rows: np.ndarray | slice) -> Tensor:
        """Some of them as the tokenizer of a modality takes them."""
        if modality == "tok_rgb":
            return pad_frames(picture_values(self.frames[rows]))
        if modality == "tok_depth":
            depth = self.depth_m[rows].astype(np.float32)
            return pad_frames(depth_values(depth, NEAREST, FARTHEST))
        return camera_input(torch.tensor(self.poses[rows]))


def gather(walks: list[Walk]) -> Walks:
    """Walks side by side."""
    return Walks(**{name: np.stack([getattr(walk, name) for walk in walks]) for name in _FILES})


def stored_walks(folder: Path, split: Split, count: int, seed: int) -> Walks:
    """Draw `count` walks into files, or open them where they are."""
    done, wanted = folder / "walks.done", f"{split} {count} {seed}\n"
    mode = "r" if done.is_file() and done.read_text(encoding="utf-8") == wanted else "w+"
    folder.mkdir(parents=True, exist_ok=True)
    arrays: Mapping[str, np.ndarray] = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", mode=mode, dtype=kind, shape=(count, *shape)
        )
        for name, (shape, kind) in _FILES.items()
    }
    if mode == "w+":
        log.info("drawing %d walks", count)
        scenes = draw_scenes(split, count, np.random.default_rng([seed, 7]))
        for number, scene in enumerate(scenes):
            walk = draw_walk(scene, number)
            for name, array in arrays.items():
                array[number] = getattr(walk, name)
        done.write_text(wanted, encoding="utf-8")
    return Walks(**arrays)
