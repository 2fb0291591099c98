"""The recipe of the small EgoM2P from nothing to a folder that runs, at a few steps a part."""

from pathlib import Path

import pytest
from safetensors import safe_open

from base.errors import ConfigError
from commands.wiring import load_generator, load_prompts, make_requests
from fourm_backend.generator import FourMGenerator
from scenes.loop import LoopConfig
from scenes.walk_export import export
from scenes.walk_recipe import PARTS, TokenizerConfig, WalkRecipe, WalkRecipeConfig


def config(folder: Path, steps: int) -> WalkRecipeConfig:
    loop = LoopConfig(steps, batch=2, lr=1e-3)
    video, path = TokenizerConfig(16, 60, 1, loop), TokenizerConfig(8, 64, 1, loop)
    return WalkRecipeConfig(
        run_dir=str(folder / "run"),
        out_dir=str(folder / "model"),
        walks=4,
        dim=24,
        depth=1,
        num_heads=2,
        bf16=False,
        tok_rgb=video,
        tok_depth=video,
        tok_cam=path,
        transformer=loop,
    )


def test_from_nothing_to_a_folder_that_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train it first"):
        WalkRecipe(config(tmp_path, 2)).run(["transformer"])
    WalkRecipe(config(tmp_path, 2)).run()
    WalkRecipe(config(tmp_path, 3)).run()  # goes on from the restart files
    for part in PARTS:
        with safe_open(tmp_path / "run" / f"{part}.restart.safetensors", "pt") as file:
            assert file.metadata()["step"] == "3"
    folder = export(WalkRecipe(config(tmp_path, 3)))
    generator = load_generator(str(folder))
    assert isinstance(generator, FourMGenerator)
    (request,) = make_requests(generator, load_prompts("scenes:test:1"))
    state = generator.begin([request])
    for _ in generator.stages(request):
        state = generator.advance(state, [{}])
    (tokens,) = generator.finish(state)
    assert len(tokens) == 180 + 30 and tokens.min() >= 0
