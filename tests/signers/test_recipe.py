"""The recipe of the small PoseFormer, with hardly any steps, on the keypoints that come along."""

import pytest

from base.errors import ConfigError
from scenes.loop import LoopConfig
from sign_backend.pretrained import SIGNERS, load_folder
from signers.export import export, measure
from signers.recipe import SignerRecipe, SignerRecipeConfig, recognition


def test_it_trains_exports_and_writes_the_card(tmp_path):
    config = SignerRecipeConfig(
        run_dir=str(tmp_path / "run"),
        out_dir=str(tmp_path / "out"),
        width=16,
        layers=1,
        loop=LoopConfig(2, 2, warmup=1),
    )
    recipe = SignerRecipe(config)
    recipe.run(["poseformer"])
    report = measure(recipe, history="A remark.") if export(recipe) else None
    assert report is not None and not report.passed  # two steps teach nothing
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert report.table() in card and "A remark." in card and "width 16" in card
    with pytest.raises(ConfigError, match="unknown parts"):
        recipe.run(["transformer"])


def test_the_shipped_model_keeps_its_gate():
    assert recognition(load_folder(SIGNERS), "test") >= 0.8
