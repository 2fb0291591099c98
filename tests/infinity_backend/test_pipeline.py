"""Pipeline folders: what is written is what is read; what is wrong is named."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import CheckpointError, ConfigError
from infinity_backend.config import PipelineConfig
from infinity_backend.pipeline import InfinityPipeline
from infinity_backend.text_encoder import TextEncoder
from tests.infinity_backend.tiny import PROMPTS, tiny_config, tiny_pipeline


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return folder


def copy(saved: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_saved_pipeline_draws_the_same_images(saved: Path) -> None:
    before = tiny_pipeline()(PROMPTS[:2], [3, 4])
    loaded = InfinityPipeline.from_pretrained(saved)
    after = loaded(PROMPTS[:2], [3, 4])
    assert before.images.shape == (2, 24, 24, 3) and before.images.dtype == np.uint8
    np.testing.assert_array_equal(before.images, after.images)
    assert loaded.config == tiny_config()
    again = InfinityPipeline.from_pretrained(saved)
    assert again.fingerprint == loaded.fingerprint


def test_a_controller_saves_compute_and_seeds_matter(saved: Path) -> None:
    pipeline = InfinityPipeline.from_pretrained(saved)
    full = pipeline(PROMPTS[:2], [0, 1])
    tail = pipeline(PROMPTS[:2], [0, 1], lambda scale, scales: float(scale == scales - 1))
    np.testing.assert_array_equal(full.cost_flops, full.full_cost_flops)
    assert (tail.cost_flops < full.cost_flops).all()
    assert (tail.images != full.images).any()
    assert (pipeline(PROMPTS[:1], [7]).images != full.images[:1]).any()
    away = pipeline(PROMPTS[:2], [0, 1], negative_prompts=["blue", None]).images
    assert (away[0] != full.images[0]).any() and (away[1] == full.images[1]).all()


def test_impossible_arguments_are_refused(saved: Path) -> None:
    pipeline = InfinityPipeline.from_pretrained(saved)
    with pytest.raises(ConfigError, match="2 prompts, 1 seeds and 2 negative"):
        pipeline(PROMPTS[:2], [0])
    with pytest.raises(ConfigError, match="1 negative prompts"):
        pipeline(PROMPTS[:2], [0, 1], negative_prompts=["blue"])
    with pytest.raises(ConfigError, match=r"prune_ratio is 1\.5"):
        pipeline(PROMPTS[:1], [0], lambda scale, scales: 1.5)


@pytest.mark.parametrize("name", ["transformer", "vae"])
def test_a_file_cut_short_is_named(saved: Path, tmp_path: Path, name: str) -> None:
    path = copy(saved, tmp_path) / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=rf"{name}\.safetensors.*not a whole safetensors"):
        InfinityPipeline.from_pretrained(path.parent)


def test_missing_files_and_folders_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        InfinityPipeline.from_pretrained(tmp_path / "nothing")
    folder = copy(saved, tmp_path)
    (folder / "vae.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"vae\.safetensors is missing"):
        InfinityPipeline.from_pretrained(folder)


def test_weights_of_another_model_are_refused_with_keys_and_shapes(
    saved: Path, tmp_path: Path
) -> None:
    folder = copy(saved, tmp_path)
    values = json.loads((folder / "config.json").read_text())
    values["infinity"]["depth"] = 6
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"missing \(first: block_chunks"):
        InfinityPipeline.from_pretrained(folder)
    values["infinity"].update(depth=4, bits=16)
    with pytest.raises(ConfigError, match="predicts 16 bits a token, the VAE gives 8"):
        PipelineConfig.from_json(values)
    values["infinity"].update(bits=8, dept=3)
    with pytest.raises(ConfigError, match="unknown entries"):
        PipelineConfig.from_json(values)


def test_the_dtype_of_the_blocks_can_be_narrow(saved: Path) -> None:
    narrow = InfinityPipeline.from_pretrained(saved, dtype=torch.bfloat16)
    assert narrow.fingerprint != InfinityPipeline.from_pretrained(saved).fingerprint
    images = narrow(PROMPTS[:1], [0]).images
    assert images.shape == (1, 24, 24, 3)


def test_unknown_words_and_long_prompts_are_reported(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = TextEncoder.from_pretrained(saved / "text_encoder", max_tokens=6)
    with caplog.at_level(logging.WARNING):
        condition = encoder(["a red zebra", "a red circle on the left on the left", ""])
    assert condition.lengths == (4, 6, 1)
    assert "'zebra'" in caplog.text and "is cut to 6" in caplog.text
    caplog.clear()
    assert encoder.length("a red zebra") == 4
    encoder(["a red zebra"])
    assert "zebra" not in caplog.text  # said once


def test_features_do_not_depend_on_the_batch(saved: Path) -> None:
    encoder = TextEncoder.from_pretrained(saved / "text_encoder")
    together = encoder(list(PROMPTS))
    alone = TextEncoder.from_pretrained(saved / "text_encoder")([PROMPTS[1]])
    length = alone.lengths[0]
    torch.testing.assert_close(together.features[1, :length], alone.features[0])
