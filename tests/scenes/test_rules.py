from dataclasses import replace

import numpy as np

from scenes.render import render
from scenes.rules import judge
from scenes.world import SHAPES, prompts


def test_every_rule_is_right_on_every_real_render():
    for seed, scene in enumerate(prompts("test", 150, seed=11)):
        verdict = judge(render(scene, seed), scene)
        assert verdict.all_right, scene.caption
        assert all(verdict.fills), scene.caption
        assert all(verdict.sizes), scene.caption


def test_a_wrong_shape_colour_place_or_ground_is_found():
    for scene in prompts("test", 40, seed=12):
        thing = scene.things[0]
        others = scene.things[1:]
        wrong_shape = SHAPES[(SHAPES.index(thing.shape) + 1) % len(SHAPES)]
        picture = render(replace(scene, things=(replace(thing, shape=wrong_shape), *others)))
        assert not judge(picture, scene).shapes[0]
        used = {thing.colour, scene.ground_colour}
        wrong_colour = next(c for c in ("red", "green", "blue") if c not in used)
        picture = render(replace(scene, things=(replace(thing, colour=wrong_colour), *others)))
        assert not judge(picture, scene).colours[0]
        ground = "striped" if scene.ground != "striped" else "dotted"
        assert not judge(render(replace(scene, ground=ground)), scene).ground


def test_grey_mush_is_not_right():
    scene = prompts("test", 1)[0]
    verdict = judge(np.full((64, 64, 3), 127, np.uint8), scene)
    assert not verdict.all_right
