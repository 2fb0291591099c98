"""The small world: captions of scenes with one to four objects, and how they are drawn by lot.

A caption reads 'a small striped blue circle at the top left and a large plain red cross at the
bottom right on a dotted green background'. Train, validation and test captions are disjoint by
construction: the split is a hash of the caption with its objects in a fixed order.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from base.errors import DataError

Split: TypeAlias = Literal["train", "validation", "test"]

SIZES = ("small", "large")
FILLS = ("plain", "striped", "checkered")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
SHAPES = ("circle", "square", "triangle", "cross")
PLACES = ("top left", "top right", "bottom left", "bottom right")
GROUNDS = ("plain", "striped", "checkered", "dotted")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Thing:
    """One object of a scene; each field is a word (or two) of the caption."""

    size: str
    fill: str
    colour: str
    shape: str
    place: str

    @property
    def phrase(self) -> str:
        """The object's part of the caption."""
        return f"a {self.size} {self.fill} {self.colour} {self.shape} at the {self.place}"


@dataclass(frozen=True)
class Scene:
    """What a caption says: one to four objects at different places, and the ground."""

    things: tuple[Thing, ...]
    ground: str
    ground_colour: str

    @property
    def caption(self) -> str:
        """The words, objects in the order in which they are listed."""
        phrases = " and ".join(thing.phrase for thing in self.things)
        return f"{phrases} on a {self.ground} {self.ground_colour} background"

    @property
    def canonical(self) -> "Scene":
        """The same scene with its objects listed in reading order."""
        ordered = sorted(self.things, key=lambda thing: PLACES.index(thing.place))
        return replace(self, things=tuple(ordered))

    @property
    def split(self) -> Split:
        """The split that this scene belongs to, whatever the order of its objects."""
        bucket = hashlib.sha256(self.canonical.caption.encode()).digest()[0] % 10
        return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene by lot.

    A hidden 'busyness' makes objects, large ones and textures likely together, so that scenes
    differ widely in how much fine detail they hold.
    """
    busy = rng.random()
    count = 1 + int((rng.random(3) < busy).sum())
    ground_colour = COLOURS[rng.integers(len(COLOURS))]
    textured = rng.random() < busy
    ground = GROUNDS[1 + rng.integers(3)] if textured else "plain"
    colours = [colour for colour in COLOURS if colour != ground_colour]
    things = tuple(
        Thing(
            size=SIZES[int(rng.random() < 0.25 + 0.5 * busy)],
            fill=FILLS[1 + rng.integers(2)] if rng.random() < busy else "plain",
            colour=colours[rng.integers(len(colours))],
            shape=SHAPES[rng.integers(len(SHAPES))],
            place=PLACES[place],
        )
        for place in rng.permutation(len(PLACES))[:count]
    )
    return Scene(things, ground, ground_colour)


def draw_scenes(split: Split, count: int, rng: np.random.Generator) -> list[Scene]:
    """Draw `count` scenes of a split by lot; the same scene may come twice."""
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = draw_scene(rng)
        if scene.split == split:
            scenes.append(scene)
    return scenes


def prompts(split: Split, count: int, seed: int = 0) -> list[Scene]:
    """Give `count` different scenes of a split, the same ones for the same seed."""
    rng = np.random.default_rng([SPLITS.index(split), seed])
    scenes: dict[Scene, Scene] = {}
    while len(scenes) < count:
        for scene in draw_scenes(split, count - len(scenes), rng):
            scenes.setdefault(scene.canonical, scene)
    return list(scenes.values())


def _either(words: tuple[str, ...]) -> str:
    return "(" + "|".join(words) + ")"


_PHRASE = re.compile(
    rf"a {_either(SIZES)} {_either(FILLS)} {_either(COLOURS)} {_either(SHAPES)}"
    rf" at the {_either(PLACES)}"
)
_GROUND = re.compile(rf"(.+) on a {_either(GROUNDS)} {_either(COLOURS)} background")


def parse(caption: str) -> Scene:
    """Read a caption back into a scene.

    Raises:
        DataError: the caption is not one of this world; the message names the part at fault.
    """
    example = f"such as {prompts('train', 1)[0].caption!r}"
    whole = _GROUND.fullmatch(caption.strip())
    if whole is None:
        raise DataError(f"{caption!r} does not end in a ground of this world; expected {example}")
    things = []
    for phrase in whole[1].split(" and "):
        match = _PHRASE.fullmatch(phrase)
        if match is None:
            raise DataError(f"{phrase!r} is not an object of this world; expected {example}")
        things.append(Thing(*match.groups()))
    if len({thing.place for thing in things}) < len(things):
        raise DataError(f"{caption!r} puts two objects at one place; name each place once")
    return Scene(tuple(things), whole[2], whole[3])
