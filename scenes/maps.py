"""What a drawing program knows besides colours: exact outlines, and which shape is where.

Shapes: S = SIDE pixels.
"""

import numpy as np

from scenes.render import SIDE, jitter_of, place_slices, shape_mask
from scenes.world import SHAPES, Scene

CLASSES = ("ground", *SHAPES)  # of the segmentation


def outline_of(inside: np.ndarray) -> np.ndarray:
    """The pixels of a region [H, W] bool that touch what is outside of it: one pixel wide."""
    padded = np.pad(inside, 1)
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~surrounded


def outlines(scene: Scene, seed: int = 0) -> np.ndarray:
    """Outlines of all objects of `render(scene, seed)`; textures have none: [S, S] bool."""
    drawn = np.zeros((SIDE, SIDE), bool)
    moved = jitter_of(scene, seed)
    for thing in scene.things:
        inside = shape_mask(thing.shape, thing.size, *moved[thing.place]) >= 0.5
        drawn[place_slices(thing.place)] = outline_of(inside)
    return drawn


def segmentation(scene: Scene, seed: int = 0) -> np.ndarray:
    """The class of every pixel, a number of `CLASSES`: [S, S] uint8."""
    classes = np.zeros((SIDE, SIDE), np.uint8)
    moved = jitter_of(scene, seed)
    for thing in scene.things:
        inside = shape_mask(thing.shape, thing.size, *moved[thing.place]) >= 0.5
        classes[place_slices(thing.place)][inside] = CLASSES.index(thing.shape)
    return classes


def edge_f1(made: np.ndarray, true: np.ndarray, reach: int = 1) -> np.ndarray:
    """How well outlines agree, [B] in [0, 1]: the harmonic mean of precision and recall.

    A pixel counts as found when the other picture has one within `reach` pixels; two empty pictures
    agree.

    Args:
        made: [B, H, W] bool.
        true: the same.
        reach: in pixels, diagonals included.
    """
    precision, recall = _share_near(made, true, reach), _share_near(true, made, reach)
    both = precision + recall
    return np.where(both > 0, 2 * precision * recall / np.maximum(both, 1e-12), 0.0)


def _share_near(some: np.ndarray, others: np.ndarray, reach: int) -> np.ndarray:
    """Share of pixels of `some` near one of `others`, [B]; 1 where there are none."""
    height, width = others.shape[1:]
    padded = np.pad(others, ((0, 0), (reach, reach), (reach, reach)))
    shifts = [(y, x) for y in range(2 * reach + 1) for x in range(2 * reach + 1)]
    near = np.any([padded[:, y : y + height, x : x + width] for y, x in shifts], axis=0)
    count = some.sum((1, 2))
    return np.where(count > 0, (some & near).sum((1, 2)) / np.maximum(count, 1), 1.0)
