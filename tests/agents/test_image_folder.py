import json

import numpy as np
import pytest
from PIL import Image

from agents.image_folder import ImageFolder
from agents.prompts import PromptRecord
from base.errors import ConfigError, DataError

MADE_BY = {"fingerprint": "f1", "controller": "none", "generator": "toy", "device": "cpu"}
RED = PromptRecord("a", "red", 1, "plain")
BLUE = PromptRecord("b", "blue ✓", 2)
IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def test_writes_what_it_says(tmp_path):
    with ImageFolder(tmp_path / "out", **MADE_BY) as folder:
        folder.add(RED, IMAGE, {"decisions": [], "cost_flops": 1.5})
        folder.add(BLUE, IMAGE[::-1], {"decisions": [], "cost_flops": 2.5})
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.png", "b.png", "meta_data.json", "provenance.json"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), IMAGE)
    metadata = json.loads((tmp_path / "out" / "meta_data.json").read_text())
    assert metadata["a"] == {
        "prompt": "red",
        "seed": 1,
        "category": "plain",
        "decisions": [],
        "cost_flops": 1.5,
    }
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert provenance["format"] == 1
    assert provenance["seeds"] == [1, 2]
    assert provenance["versions"]["numpy"] == np.__version__
    assert {name: provenance[name] for name in MADE_BY} == MADE_BY


def test_goes_on_after_an_interruption(tmp_path):
    with pytest.raises(KeyboardInterrupt), ImageFolder(tmp_path, **MADE_BY) as folder:
        folder.add(RED, IMAGE, {})
        raise KeyboardInterrupt
    created = json.loads((tmp_path / "provenance.json").read_text())["created"]
    with ImageFolder(tmp_path, **MADE_BY) as folder:
        assert folder.missing([RED, BLUE]) == [BLUE]
    assert json.loads((tmp_path / "provenance.json").read_text())["created"] == created


def test_an_image_without_its_entry_is_made_again(tmp_path):
    folder = ImageFolder(tmp_path, **MADE_BY)
    folder.add(RED, IMAGE, {})  # killed here: nothing was saved after the image
    assert ImageFolder(tmp_path, **MADE_BY).missing([RED]) == [RED]


def test_an_entry_without_its_image_is_made_again(tmp_path):
    with ImageFolder(tmp_path, **MADE_BY) as folder:
        folder.add(RED, IMAGE, {})
    (tmp_path / "a.png").unlink()
    assert ImageFolder(tmp_path, **MADE_BY).missing([RED]) == [RED]


@pytest.mark.parametrize("name", ["fingerprint", "controller"])
def test_another_origin_is_refused_with_both_named(tmp_path, name):
    with ImageFolder(tmp_path, **MADE_BY) as folder:
        folder.add(RED, IMAGE, {})
    with pytest.raises(ConfigError) as caught:
        ImageFolder(tmp_path, **MADE_BY | {name: "other"})
    assert repr(MADE_BY[name]) in str(caught.value)
    assert "'other'" in str(caught.value)


def test_another_prompt_or_seed_under_the_same_id_is_refused(tmp_path):
    with ImageFolder(tmp_path, **MADE_BY) as folder:
        folder.add(RED, IMAGE, {})
        with pytest.raises(ConfigError, match=r"'seed': 1\}; asked for .*'seed': 9\}"):
            folder.missing([PromptRecord("a", "red", 9)])


def test_images_of_unknown_origin_are_left_alone(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "holiday.png")
    with pytest.raises(DataError, match=r"no provenance\.json"):
        ImageFolder(tmp_path, **MADE_BY)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"prompt": "x"}}'])
def test_broken_metadata_is_an_error(tmp_path, content):
    ImageFolder(tmp_path, **MADE_BY)
    (tmp_path / "meta_data.json").write_text(content)
    with pytest.raises(DataError, match=r"meta_data\.json"):
        ImageFolder(tmp_path, **MADE_BY)
