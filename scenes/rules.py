"""Pixel rules that say what a picture shows, by comparison with rendered templates.

Each rule scores 100 % on real renders. They look at one place at a time and know the caption's
ground; what they are asked to find out (colour, shape, ground) they compare over all possibilities.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from scenes.render import (
    CELL,
    DARK,
    JITTER,
    RADIUS,
    RGB,
    ground_paint,
    paint,
    place_slices,
    shape_mask,
)
from scenes.world import COLOURS, FILLS, GROUNDS, SHAPES, SIZES, Scene, Thing

_CORE = 4  # pixels; half side of the square that every shape covers nearly whole, jitter included


@dataclass(frozen=True)
class Verdict:
    """What the rules found for one scene.

    Attributes:
        colours, shapes, fills, sizes: one truth value per object, in the scene's order.
        ground: whether texture and colour of the ground are right.
    """

    colours: tuple[bool, ...]
    shapes: tuple[bool, ...]
    fills: tuple[bool, ...]
    sizes: tuple[bool, ...]
    ground: bool

    @property
    def all_right(self) -> bool:
        """Whether colours and shapes of all objects and the ground are right."""
        return all(self.colours) and all(self.shapes) and self.ground


def judge(picture: np.ndarray, scene: Scene) -> Verdict:
    """Compare a picture, uint8 [64, 64, 3], with what the scene's caption says."""
    found = [find_thing(picture, scene, thing) for thing in scene.things]
    return Verdict(
        colours=tuple(find_colour(picture, thing.place) == thing.colour for thing in scene.things),
        shapes=tuple(f.shape == t.shape for f, t in zip(found, scene.things, strict=True)),
        fills=tuple(f.fill == t.fill for f, t in zip(found, scene.things, strict=True)),
        sizes=tuple(f.size == t.size for f, t in zip(found, scene.things, strict=True)),
        ground=find_ground(picture, scene) == (scene.ground, scene.ground_colour),
    )


def find_colour(picture: np.ndarray, place: str) -> str:
    """The colour at the middle of a place, whatever the caption says.

    Every pixel of the core votes for the colour whose two tones come nearest.
    """
    rows, columns = place_slices(place)
    middle = slice(CELL // 2 - _CORE, CELL // 2 + _CORE)
    core = picture[rows, columns][middle, middle].reshape(-1, 1, 3).astype(np.float32)
    light = np.asarray([RGB[colour] for colour in COLOURS], np.float32)  # [8, 3]
    shares = np.linspace(DARK, 1.0, 5, dtype=np.float32)[:, None, None]
    tones = shares * light  # [5, 8, 3]
    distance = ((core[:, None] - tones) ** 2).sum(-1).min(1)  # [pixels, 8]
    votes = np.bincount(distance.argmin(1), minlength=len(COLOURS))
    return COLOURS[int(votes.argmax())]


@lru_cache
def _templates() -> tuple[np.ndarray, tuple[tuple[str, str], ...]]:
    """Coverage of every shape and size at every jitter: [n, 32, 32], and (shape, size) of each."""
    span = range(-JITTER, JITTER + 1)
    names = [(shape, size) for shape in SHAPES for size in SIZES for _ in span for _ in span]
    masks = [
        shape_mask(shape, size, dy, dx)
        for shape in SHAPES
        for size in SIZES
        for dy in span
        for dx in span
    ]
    return np.stack(masks), tuple(names)


def find_thing(picture: np.ndarray, scene: Scene, thing: Thing) -> Thing:
    """The size, fill and shape (in the caption's colour) whose render comes nearest to the picture.

    All shapes, sizes, fills and jitters are tried on the caption's ground.
    """
    return fit_thing(picture, scene, thing)[0]


def fit_thing(picture: np.ndarray, scene: Scene, thing: Thing) -> tuple[Thing, np.ndarray]:
    """What `find_thing` finds, and where it is: [32, 32] coverage of the place."""
    rows, columns = place_slices(thing.place)
    seen = picture[rows, columns].astype(np.float32)  # [32, 32, 3]
    empty = ground_paint(scene)[rows, columns]
    masks, names = _templates()
    flat = masks.reshape(len(masks), -1)  # [n, 1024]
    best, mask, least = thing, masks[0], np.inf
    for fill in FILLS:
        full = paint(fill, thing.colour)[rows, columns]
        # |seen - empty - mask (full - empty)|^2, summed, as a quadratic in the mask
        apart, change = seen - empty, full - empty
        cross, square = (apart * change).sum(-1).ravel(), (change**2).sum(-1).ravel()
        errors = (flat**2) @ square - 2.0 * flat @ cross
        index = int(errors.argmin())
        if errors[index] < least:
            least = float(errors[index])
            best = replace(thing, shape=names[index][0], size=names[index][1], fill=fill)
            mask = masks[index]
    return best, mask


def find_ground(picture: np.ndarray, scene: Scene) -> tuple[str, str]:
    """Texture and colour of the ground: the pair that comes nearest outside all objects."""
    free = np.ones(picture.shape[:2], bool)
    for thing in scene.things:
        rows, columns = place_slices(thing.place)
        margin = int(RADIUS[thing.size]) + JITTER
        middle = slice(CELL // 2 - margin, CELL // 2 + margin)
        free[rows, columns][middle, middle] = False
    seen = picture.astype(np.float32)[free]
    pairs = [(ground, colour) for ground in GROUNDS for colour in COLOURS]
    errors = [
        ((seen - ground_paint(Scene((), ground, colour))[free]) ** 2).sum()
        for ground, colour in pairs
    ]
    return pairs[int(np.argmin(errors))]
