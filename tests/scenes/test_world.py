import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import DataError
from scenes.render import JITTER, SIDE, jitter_of, object_mask, render
from scenes.world import SPLITS, Scene, draw_scene, parse, prompts


@given(st.integers(0, 2**32 - 1))
def test_a_caption_reads_back_as_its_scene(seed):
    scene = draw_scene(np.random.default_rng(seed))
    assert parse(scene.caption) == scene
    assert all(thing.colour != scene.ground_colour for thing in scene.things)


def test_splits_are_disjoint_and_have_a_thousand_prompts_each():
    captions = {split: {s.canonical.caption for s in prompts(split, 1000)} for split in SPLITS}
    assert all(len(found) == 1000 for found in captions.values())
    assert not captions["train"] & captions["test"]
    assert not captions["train"] & captions["validation"]
    assert not captions["validation"] & captions["test"]


def test_the_order_of_objects_does_not_change_the_split():
    for scene in prompts("test", 50, seed=3):
        turned = Scene(scene.things[::-1], scene.ground, scene.ground_colour)
        assert turned.split == "test"


def test_prompts_depend_on_the_seed_only():
    assert prompts("validation", 5, seed=1) == prompts("validation", 5, seed=1)
    assert prompts("validation", 5, seed=1) != prompts("validation", 5, seed=2)


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a photo of a dog", "ground"),
        ("a small plain mauve circle at the top left on a plain red background", "mauve"),
        (
            "a small plain blue circle at the top left and a large plain cyan cross at the top "
            "left on a plain red background",
            "two objects",
        ),
    ],
)
def test_a_caption_of_another_world_is_refused_by_name(caption, named):
    with pytest.raises(DataError, match=named):
        parse(caption)


def test_the_same_seed_gives_the_same_picture_and_another_moves_the_objects():
    scene = prompts("test", 1)[0]
    assert render(scene, 4).shape == (SIDE, SIDE, 3)
    assert render(scene, 4).dtype == np.uint8
    assert np.array_equal(render(scene, 4), render(scene, 4))
    assert len({tuple(jitter_of(scene, seed).items()) for seed in range(20)}) > 15
    moves = [move for seed in range(200) for move in jitter_of(scene, seed).values()]
    assert {axis for move in moves for axis in move} == set(range(-JITTER, JITTER + 1))


def test_outside_the_object_mask_there_is_only_ground():
    scene = prompts("test", 1, seed=9)[0]
    first, second = (render(scene, seed) for seed in (0, 1))
    free = (object_mask(scene, 0) == 0) & (object_mask(scene, 1) == 0)
    assert free.any()
    assert np.array_equal(first[free], second[free])
