"""Layouts, formats and further files of `prunegym generate`, on a small random Infinity."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.prompts import prompts_from_texts
from agents.schedules import parse_schedule
from base.errors import ConfigError, DataError
from commands import generate
from eval.folders import find_images
from eval.metadata import read_metadata
from infinity_backend.generator import InfinityGenerator
from infinity_backend.pipeline import InfinityPipeline
from infinity_backend.positive_prompt import add_positive_suffix
from infinity_backend.request import ImageRequest
from tests.infinity_backend.tiny import PROMPTS, tiny_pipeline

SCHEDULE = "4:0.4,6:1.0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


def run(model: str, out: Path, *options: str) -> int:
    return generate.main(["--generator", model, "--out", str(out), *options])


def typed(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--prompt", text)]


def test_the_nested_layout_is_what_the_evaluator_reads(model: str, tmp_path: Path) -> None:
    options = ["--layout", "nested", "--controller", f"schedule:{SCHEDULE}"]
    options += ["--images-per-prompt", "2", *typed("a red circle", "blue")]
    assert run(model, tmp_path, *options) == 0
    folder = find_images(tmp_path)
    assert folder.layout == "nested" and sorted(folder.images) == ["a_red_circle", "blue"]
    entries = read_metadata(folder).entries
    assert entries["a_red_circle"].prompt == "a red circle"
    config = json.loads((tmp_path / "gen_images_blue" / "config.json").read_text())
    assert config["pruning_scales"] == {"4": 0.4, "6": 1.0}
    assert config["pruning_scales_raw"] == SCHEDULE
    assert config["prompt"] == {
        "prompt_name": "blue",
        "prompt": "blue",
        "image_path": "gen_images_blue/1.png",
        "image_number": 1,
    }
    together = json.loads((tmp_path / "config_all.json").read_text())
    paths = [entry["image_path"] for entry in together["prompts"]]
    assert len(paths) == 4 and all((tmp_path / path).is_file() for path in paths)
    first, second = (np.asarray(Image.open(tmp_path / path)) for path in paths[:2])
    assert (first != second).any()  # another seed
    assert run(model, tmp_path, *options) == 0  # goes on: nothing to do


def test_one_shot_and_scale_by_scale_agree_to_the_bit(model: str, tmp_path: Path) -> None:
    """The pipeline, the command, and a loop over single scales that forks at each of them."""
    assert run(model, tmp_path, "--controller", f"schedule:{SCHEDULE}", *typed(PROMPTS[1])) == 0
    (image,) = tmp_path.glob("*.png")
    pipeline = InfinityPipeline.from_pretrained(model)
    generator = InfinityGenerator(pipeline)
    names = [stage.name for stage in generator.stages(ImageRequest(PROMPTS[1]))]
    ratios = parse_schedule(SCHEDULE, names)
    at_once = pipeline([PROMPTS[1]], [0], lambda scale, scales: ratios[scale]).images[0]
    state = generator.begin([ImageRequest(PROMPTS[1], 0)])
    for ratio in ratios:
        generator.advance(state, [{"prune_ratio": 0.7}])  # another branch of the tree
        state = generator.advance(generator.fork(state, [0]), [{"prune_ratio": ratio}])
    np.testing.assert_array_equal(np.asarray(Image.open(image)), at_once)
    np.testing.assert_array_equal(generator.finish(state)[0], at_once)


def test_jpeg_and_intermediates(model: str, tmp_path: Path) -> None:
    options = ["--controller", "none", "--format", "jpeg", "--intermediates", *typed("blue")]
    assert run(model, tmp_path, *options) == 0
    assert Image.open(tmp_path / "blue.jpg").format == "JPEG"
    scales = tmp_path / "intermediates" / "gen_images_blue"
    assert len(list((scales / "summed_codes").iterdir())) == 5
    assert len(list((scales / "fourier_latent_unscaled").iterdir())) == 5


def test_pruning_settings_are_part_of_the_fingerprint(model: str, tmp_path: Path) -> None:
    for name, pruning in (("a", "{selection: change}"), ("b", "{restore: zero}")):
        options = ["--controller", "schedule:6:0.5", "--pruning", pruning, *typed("blue")]
        assert run(model, tmp_path / name, *options) == 0
    prints = [
        json.loads((tmp_path / name / "provenance.json").read_text())["fingerprint"]
        for name in ("a", "b")
    ]
    assert prints[0] != prints[1]
    with pytest.raises(ConfigError, match="expected"):
        run(
            model,
            tmp_path / "c",
            "--controller",
            "none",
            "--pruning",
            "{selection: x}",
            *typed("b"),
        )


def test_the_suffix_is_for_people_only(model: str, tmp_path: Path) -> None:
    assert add_positive_suffix("a Man") == "a Man"
    assert add_positive_suffix("a manual", "x, y") == "a manual. x, y"
    options = ["--controller", "none", "--positive-prompt", "--positive-suffix", "big"]
    assert run(model, tmp_path, *options, *typed("a man", "blue")) == 0
    entries = json.loads((tmp_path / "meta_data.json").read_text())
    assert [entry["prompt"] for entry in entries.values()] == ["a man. big", "blue"]


def test_negative_prompts(model: str, tmp_path: Path) -> None:
    """On the command line for all, in a prompt file for one; they change and name the picture."""
    both = typed("a red circle", "blue")
    assert run(model, tmp_path / "plain", "--controller", "none", *both) == 0
    assert (
        run(model, tmp_path / "typed", "--controller", "none", "--negative-prompt", "a", *both) == 0
    )
    plain, made = (
        json.loads((tmp_path / name / "meta_data.json").read_text()) for name in ("plain", "typed")
    )
    assert [entry.get("negative_prompt") for entry in plain.values()] == [None, None]
    assert [entry["negative_prompt"] for entry in made.values()] == ["a", "a"]
    for name in plain:
        one, other = (
            np.asarray(Image.open(tmp_path / f / f"{name}.png")) for f in ("plain", "typed")
        )
        assert (one != other).any()
    again = ["--controller", "none", "--prompts", str(tmp_path / "typed" / "meta_data.json")]
    assert run(model, tmp_path / "again", *again) == 0  # the file says all that there is to say
    names = ("typed", "again")
    one, other = (np.asarray(Image.open(tmp_path / f / "blue.png")) for f in names)
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ConfigError, match=r"'negative_prompt': 'b'"):
        run(model, tmp_path / "typed", "--controller", "none", "--negative-prompt", "b", *both)
    with pytest.raises(DataError, match="takes no negative prompts"):
        options = ["--negative-prompt", "b", *typed("toy 1")]
        run("toy", tmp_path / "toy", "--controller", "none", *options)


def test_impossible_options(model: str, tmp_path: Path) -> None:
    for options, message in (
        ([], "either --prompts FILE or --prompt TEXT"),
        ([*typed("a"), "--layout", "deep"], "layout 'deep'"),
        ([*typed("a"), "--format", "gif"], "format 'gif'"),
        ([*typed("a"), "--images-per-prompt", "0"], "expected 1 or more"),
        ([*typed("a"), "--aspect-ratio", "2"], "a schedule of its own"),
        ([*typed("a", "a_2"), "--images-per-prompt", "2"], "two images would be called a_2"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(model, tmp_path, "--controller", "none", *options)
    with pytest.raises(ConfigError, match="'toy' has no aspect_ratio"):
        run("toy", tmp_path, "--controller", "none", "--aspect-ratio", "2", *typed("toy 1"))
    with pytest.raises(ConfigError, match="only an Infinity"):
        run("toy", tmp_path, "--controller", "none", "--intermediates", *typed("toy 1"))


def test_ids_of_typed_prompts() -> None:
    texts = ["A red circle!", "a red circle", "猫", "con", " x "]
    records = prompts_from_texts(texts, first_seed=5)
    assert [record.id for record in records] == [
        "A_red_circle",
        "a_red_circle_00002",
        "00003",
        "00004",
        "x",
    ]
    assert [record.seed for record in records] == [5, 6, 7, 8, 9]
    with pytest.raises(DataError, match="a prompt is empty"):
        prompts_from_texts([" "])
