from pathlib import Path

import numpy as np
import pytest

from base.errors import ConfigError
from base.files import read_json
from infinity_backend.generator import InfinityGenerator
from infinity_backend.load import PRETRAINED
from infinity_backend.pipeline import InfinityPipeline
from scenes.export import export
from scenes.loop import LoopConfig
from scenes.measures import generate, reconstruction, share_right
from scenes.recipe import PARTS, Recipe, RecipeConfig
from scenes.rules import judge
from scenes.train_transformer import TransformerLossConfig
from scenes.world import prompts


def tiny(folder: Path) -> RecipeConfig:
    steps = LoopConfig(2, 2, warmup=1)
    return RecipeConfig(
        run_dir=str(folder / "run"),
        out_dir=str(folder / "model"),
        scales=(1, 2, 8),
        bits=8,
        width=64,
        depth=2,
        text_layers=1,
        clip_width=32,
        clip_layers=1,
        vae_channels=24,
        transformer_loss=TransformerLossConfig(prefix_scales=2, prefix_steps=1),
        **dict.fromkeys(PARTS, steps),
    )


def test_the_recipe_runs_from_nothing_to_a_folder_that_the_pipeline_reads(tmp_path):
    recipe = Recipe(tiny(tmp_path))
    with pytest.raises(ConfigError, match="order is text"):
        recipe.run(["transformer"])
    recipe.run()
    written = {file: file.stat().st_mtime_ns for file in recipe.run_dir.iterdir()}
    assert len(written) == len(PARTS)
    folder = export(Recipe(tiny(tmp_path)))
    Recipe(tiny(tmp_path)).run()  # all is done: nothing is trained or written again
    assert {file: file.stat().st_mtime_ns for file in recipe.run_dir.iterdir()} == written
    result = InfinityPipeline.from_pretrained(folder)([prompts("test", 1)[0].caption], seeds=[0])
    assert result.images.shape == (1, 64, 64, 3)
    assert oct((folder / "text_encoder" / "model.safetensors").stat().st_mode)[-3:] == "644"


def test_unknown_parts_are_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="decodr"):
        Recipe(tiny(tmp_path)).run(["decodr"])


def test_the_shipped_model_is_small_passed_its_gates_and_is_the_one_that_was_measured():
    folder = PRETRAINED / "scenes"
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 25e6
    report = read_json(folder / "gates.json")
    assert report["passed"]
    assert report["fingerprint"] == InfinityPipeline.from_pretrained(folder).fingerprint


def test_the_shipped_model_draws_what_unseen_captions_say():
    generator = InfinityGenerator.from_pretrained("scenes")
    scenes = prompts("validation", 16, seed=5)
    verdicts = [judge(p, s) for p, s in zip(generate(generator, scenes), scenes, strict=True)]
    assert share_right(verdicts, "colours") >= 0.95
    assert share_right(verdicts, "shapes") >= 0.9
    assert np.mean([verdict.ground for verdict in verdicts]) == 1.0
    assert reconstruction(generator, scenes)["psnr_db"] > 28.0
