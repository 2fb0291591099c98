"""The recipe of the small 4M in miniature: every part learns a step or two, goes on, is written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import ConfigError
from fourm_backend.pictured import PictureGenerator
from fourm_backend.pipeline import load_generator
from scenes.captions import caption_ids, caption_tokenizer
from scenes.loop import LoopConfig
from scenes.picture_data import EDGES, draw_pictures, stored_pictures
from scenes.picture_export import export
from scenes.picture_gates import from_pictures, generate
from scenes.picture_recipe import (
    PARTS,
    PictureRecipe,
    PictureRecipeConfig,
    PictureTokenizerConfig,
)
from scenes.world import prompts

SHORT = LoopConfig(2, 4, 1e-3, log_every_s=1e9)
SMALL = PictureTokenizerConfig(16, 64, 1, SHORT)


def config(folder: Path) -> PictureRecipeConfig:
    return PictureRecipeConfig(
        run_dir=str(folder / "run"),
        out_dir=str(folder / "model"),
        pictures=12,
        dim=16,
        encoder_depth=1,
        decoder_depth=1,
        num_heads=2,
        rgb=SMALL,
        edges=SMALL,
        classes=SMALL,
        layout=SHORT,
        transformer=SHORT,
        decoder=SHORT,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    recipe = PictureRecipe(config(folder))
    with pytest.raises(ConfigError, match="train it first"):
        recipe.train("layout")
    recipe.run(PARTS)
    export(recipe)
    return folder


def test_the_folder_makes_pictures(made: Path) -> None:
    generator = load_generator(made / "model")
    assert isinstance(generator, PictureGenerator)
    scenes = prompts("test", 2)
    outputs = generate(generator, scenes)
    assert generator.pictures(outputs).shape == (2, 64, 64, 3)
    truth = draw_pictures(scenes, [1, 1])
    read = from_pictures(generator, generator.tokenizers, truth, EDGES)
    assert read.shape == (2, 1, 64, 64)


def test_the_folder_holds_what_was_trained(made: Path) -> None:
    recipe = PictureRecipe(config(made))
    recipe.load_all()
    read = load_generator(made / "model").model.state_dict()
    head = "decoder_embeddings.tok_rgb@64.to_logits.weight"
    for name, value in recipe.transformer.state_dict().items():
        if name.startswith("decoder_embeddings.") and name.endswith("token_emb.weight"):
            continue  # never used, and not stored
        torch.testing.assert_close(read[name], value, rtol=1e-3, atol=1e-4)
    assert head in read


def test_the_decoder_learns_and_the_codes_stay(made: Path) -> None:
    one, other = PictureRecipe(config(made)), PictureRecipe(config(made))
    one.load("rgb")
    other.load("decoder")
    before, after = one.tokenizers["rgb"], other.tokenizers["rgb"]
    torch.testing.assert_close(before.codes, after.codes, rtol=0, atol=0)
    moved = before.decoder.out_proj.weight - after.decoder.out_proj.weight
    assert float(moved.detach().abs().max()) > 0
    values = one.pictures.values("tok_rgb@64", slice(0, 3))
    assert torch.equal(before.encode(values), after.encode(values))


def test_a_stopped_training_goes_on_exactly(tmp_path: Path) -> None:
    whole = replace(config(tmp_path / "whole"), edges=replace(SMALL, loop=replace(SHORT, steps=3)))
    broken = replace(config(tmp_path / "broken"), edges=whole.edges)
    PictureRecipe(whole).train("edges")
    short = replace(broken, edges=replace(SMALL, loop=replace(SHORT, steps=1)))
    PictureRecipe(short).train("edges")  # as if it was killed after a step: warm-up has one rate
    PictureRecipe(broken).train("edges")
    states = []
    for settings in (whole, broken):
        recipe = PictureRecipe(settings)
        recipe.load("edges")
        states.append(recipe.tokenizers["edges"].state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_stored_pictures_are_those_that_are_drawn(tmp_path: Path) -> None:
    drawn = stored_pictures(tmp_path, "train", 6, 3)
    read = stored_pictures(tmp_path, "train", 6, 3)
    assert drawn.scenes == read.scenes and {scene.split for scene in read.scenes} == {"train"}
    np.testing.assert_array_equal(drawn.images, read.images)
    classes = read.values("tok_semseg@64", slice(0, 2))
    assert classes.shape == (2, 5, 64, 64)
    np.testing.assert_array_equal(classes.argmax(1).numpy(), read.classes[:2])


def test_captions_have_no_unknown_words_and_end() -> None:
    tokenizer = caption_tokenizer()
    assert [tokenizer.token_to_id(f"[S_{k}]") for k in range(3)] == [4, 5, 6]
    captions = [scene.caption for scene in prompts("validation", 40)]
    ids = caption_ids(captions, tokenizer)
    assert not (ids == 1).any() and ((ids == 3).sum(1) == 1).all()
    assert tokenizer.decode(ids[0][ids[0] > 3].tolist()) == captions[0]
