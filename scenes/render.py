"""Drawing a scene: 64x64 RGB, antialiased, the same picture for the same (caption, seed).

The seed moves every object by up to `JITTER` pixels; textures stay where they are. Textures have a
period of 6 pixels, which is no multiple of the 8-pixel latent cell, so they cost bits everywhere.
"""

import hashlib
from functools import lru_cache

import numpy as np

from scenes.world import PLACES, Scene, Thing

SIDE = 64  # pixels
CELL = 32  # pixels; one place is one quarter of the picture
JITTER = 2  # pixels
RADIUS = {"small": 8.0, "large": 13.0}  # pixels
PERIOD = 6  # pixels
DARK = 0.65  # the second tone of a texture, as a share of the colour
RGB = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (45, 80, 225),
    "yellow": (240, 220, 50),
    "purple": (140, 50, 180),
    "orange": (245, 135, 30),
    "cyan": (70, 215, 225),
    "white": (245, 245, 245),
}
_FINE = 4  # subpixels per pixel and axis


def _average(fine: np.ndarray) -> np.ndarray:
    """Mean over the subpixels of each pixel."""
    height, width = fine.shape[0] // _FINE, fine.shape[1] // _FINE
    return fine.reshape(height, _FINE, width, _FINE).mean((1, 3)).astype(np.float32)


@lru_cache
def texture(name: str) -> np.ndarray:
    """Share of the dark tone at each pixel of the picture, [64, 64] in [0, 1].

    Grounds and objects differ in direction: a striped ground stands, a striped object lies.
    """
    y, x = (np.mgrid[: SIDE * _FINE, : SIDE * _FINE] + 0.5) / _FINE  # pixels
    odd_x, odd_y = (x // (PERIOD / 2)) % 2 == 1, (y // (PERIOD / 2)) % 2 == 1
    if name == "plain":
        dark = np.zeros_like(x)
    elif name == "ground striped":
        dark = odd_x
    elif name == "striped":
        dark = odd_y
    elif name == "dotted":
        dark = np.hypot(x % PERIOD - PERIOD / 2, y % PERIOD - PERIOD / 2) < 0.33 * PERIOD
    elif name == "checkered":
        dark = odd_x ^ odd_y
    else:
        raise KeyError(name)
    return _average(dark.astype(np.float32))


@lru_cache
def shape_mask(shape: str, size: str, dy: int, dx: int) -> np.ndarray:
    """Coverage of a shape within its place, moved by (dy, dx) pixels: [32, 32] in [0, 1]."""
    y, x = (np.mgrid[: CELL * _FINE, : CELL * _FINE] + 0.5) / _FINE - CELL / 2
    y, x, radius = y - dy, x - dx, RADIUS[size]
    if shape == "circle":
        inside = np.hypot(x, y) < radius
    elif shape == "square":
        inside = np.maximum(abs(x), abs(y)) < 0.88 * radius
    elif shape == "triangle":
        inside = (abs(x) < (y + radius) * 0.55) & (y < 0.85 * radius)
    else:
        arm = 0.33 * radius
        inside = (np.minimum(abs(x), abs(y)) < arm) & (np.maximum(abs(x), abs(y)) < radius)
    return _average(inside.astype(np.float32))


def paint(texture_name: str, colour: str) -> np.ndarray:
    """The whole picture filled with one texture in one colour: [64, 64, 3] float32, 0 to 255."""
    tone = 1.0 - (1.0 - DARK) * texture(texture_name)
    return tone[..., None] * np.asarray(RGB[colour], np.float32)


def place_slices(place: str) -> tuple[slice, slice]:
    """Rows and columns of the picture that a place covers."""
    row, column = divmod(PLACES.index(place), 2)
    return (
        slice(row * CELL, (row + 1) * CELL),
        slice(column * CELL, (column + 1) * CELL),
    )


def jitter_of(scene: Scene, seed: int) -> dict[str, tuple[int, int]]:
    """How far (dy, dx) in pixels the seed moves the object at each place."""
    digest = hashlib.sha256(f"{scene.canonical.caption}|{seed}".encode()).digest()
    span = 2 * JITTER + 1
    return {
        place: (digest[2 * index] % span - JITTER, digest[2 * index + 1] % span - JITTER)
        for index, place in enumerate(PLACES)
    }


def ground_paint(scene: Scene) -> np.ndarray:
    """The scene's empty ground, [64, 64, 3] float32, 0 to 255."""
    name = "ground striped" if scene.ground == "striped" else scene.ground
    return paint(name, scene.ground_colour)


def draw_thing(canvas: np.ndarray, thing: Thing, dy: int, dx: int) -> None:
    """Blend one object into `canvas` [64, 64, 3], in place."""
    rows, columns = place_slices(thing.place)
    alpha = shape_mask(thing.shape, thing.size, dy, dx)[..., None]
    fill = paint(thing.fill, thing.colour)[rows, columns]
    canvas[rows, columns] += alpha * (fill - canvas[rows, columns])


def render(scene: Scene, seed: int = 0) -> np.ndarray:
    """Draw a scene: uint8 [64, 64, 3]."""
    canvas = ground_paint(scene)
    moved = jitter_of(scene, seed)
    for thing in scene.things:
        draw_thing(canvas, thing, *moved[thing.place])
    return np.rint(canvas).astype(np.uint8)


def object_mask(scene: Scene, seed: int = 0) -> np.ndarray:
    """Where the objects are: [64, 64] float32 coverage in [0, 1]."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    moved = jitter_of(scene, seed)
    for thing in scene.things:
        mask[place_slices(thing.place)] = shape_mask(thing.shape, thing.size, *moved[thing.place])
    return mask
