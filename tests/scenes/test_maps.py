"""Exact outlines and segmentation, and how outlines are compared."""

import numpy as np

from scenes.maps import CLASSES, edge_f1, outline_of, outlines, segmentation
from scenes.render import object_mask, place_slices, render
from scenes.rules import fit_thing
from scenes.world import parse, prompts

SCENES = prompts("train", 24)


def test_an_outline_is_the_rim_of_a_region() -> None:
    inside = np.zeros((6, 6), bool)
    inside[1:5, 1:5] = True
    rim = outline_of(inside)
    assert rim.sum() == 12 and not rim[2:4, 2:4].any()
    assert outline_of(np.ones((3, 3), bool)).sum() == 8  # the border of the picture counts


def test_maps_agree_with_the_picture() -> None:
    for seed, scene in enumerate(SCENES):
        inside = object_mask(scene, seed) >= 0.5
        classes, edges = segmentation(scene, seed), outlines(scene, seed)
        np.testing.assert_array_equal(classes > 0, inside)
        assert edges.any() and not (edges & ~inside).any()
        named = {CLASSES.index(thing.shape) for thing in scene.things}
        assert set(np.unique(classes)) == named | {0}


def test_f1_of_outlines() -> None:
    first = np.zeros((1, 9, 9), bool)
    first[0, 4, 2:7] = True
    near, far = np.roll(first, 1, axis=1), np.roll(first, 3, axis=1)
    assert edge_f1(first, first)[0] == 1.0 and edge_f1(first, near)[0] == 1.0
    assert edge_f1(first, near, reach=0)[0] == 0.0 and edge_f1(first, far)[0] == 0.0
    half = first.copy()
    half[0, 4, 4:] = False
    assert 0.5 < edge_f1(half, first)[0] < 1.0
    empty = np.zeros_like(first)
    assert edge_f1(empty, empty)[0] == 1.0 and edge_f1(first, empty)[0] == 0.0


def test_outlines_are_found_in_a_picture() -> None:
    """The shape that comes nearest to a real render is the one that was drawn."""
    scene = parse("a large plain red cross at the bottom right on a dotted green background")
    picture = render(scene, 5)
    found, mask = fit_thing(picture, scene, scene.things[0])
    assert found == scene.things[0]
    seen = outline_of(mask >= 0.5)
    np.testing.assert_array_equal(seen, outlines(scene, 5)[place_slices("bottom right")])
