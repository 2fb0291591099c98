"""Pictures of tokens where a tokenizer is at hand, and what is said where there is none."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from base.errors import DataError
from fourm_backend.chain import Chain
from fourm_backend.datasets import Item
from fourm_backend.detokenize import CLASSES, Detokenizers, as_picture
from fourm_backend.modalities import REGISTRY
from fourm_backend.run import Run
from fourm_backend.samples import full_input
from fourm_backend.shown import bars, boxes, pixels, printable, show, token_map
from fourm_backend.task import Task
from fourm_backend.tokenizer import TokenizerSettings, VQTokenizer
from fourm_backend.toy import CLIP, RGB, random_model


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    made = VQTokenizer(TokenizerSettings(3, (4, 4), (4, 4), 64, 1, None, 32, 4))
    made.codes.copy_(torch.nn.functional.normalize(torch.randn(32, 4), dim=1))
    path = tmp_path / "rgb.safetensors"
    save_file({name: value.clone() for name, value in made.state_dict().items()}, path)
    return path


def test_a_run_writes_pictures_beside_tokens(tokenizer_file: Path, tmp_path: Path) -> None:
    values = {"cond_domains": CLIP.name, "target_domains": RGB.name, "decoding_steps": 2}
    chain = Chain(random_model(CLIP, RGB), Task.from_values(values))
    detokenizers = Detokenizers({"tok_rgb": str(tokenizer_file)})
    folder = tmp_path / "out"
    run = Run(chain, None, folder, None, 0, 2, True, detokenizers, frozenset({4}))
    ids = torch.arange(16)[None]
    item = Item(4, "one", lambda: {CLIP.name: full_input(CLIP, {"tensor": ids})})
    assert not run.is_done(item)
    run.make(item)
    assert run.is_done(item)
    tokens = np.load(folder / f"targets/{RGB.name}/000004_1.npy")
    with Image.open(folder / f"targets/{RGB.name}/000004_1.png") as image:
        written = np.asarray(image)
    expected = VQTokenizer.from_file(tokenizer_file).decode(torch.from_numpy(tokens.reshape(1, -1)))
    expected_levels = ((expected[0].clamp(-1, 1) + 1) * 127.5).round().movedim(0, -1).numpy()
    np.testing.assert_array_equal(written, expected_levels)
    assert (folder / "plots/000004.jpg").is_file()
    assert not list((folder / "conds").rglob("*.png"))  # there is no tokenizer for them
    (folder / "plots/000004.jpg").unlink()
    assert not run.is_done(item)


def test_what_cannot_be_shown_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_file({"unet.conv_in.weight": torch.zeros(3)}, tmp_path / "diffusion.safetensors")
    sources = {
        "tok_rgb": str(tmp_path / "diffusion.safetensors"),
        "tok_depth": "4M_tokenizers_depth",
    }
    detokenizers = Detokenizers(sources)
    with caplog.at_level(logging.WARNING):
        for name in ("tok_rgb@224", "tok_depth@224", "tok_clip@224", "tok_rgb@224"):
            modality = REGISTRY[name]
            assert detokenizers.picture(modality, np.zeros(modality.grid, np.int64)) is None
    told = [record.message for record in caplog.records]
    assert len(told) == 3
    for message, words in zip(told, ("not diffusion", "do not exist", "clip_tok_id"), strict=True):
        assert words in message


def test_tokens_that_are_not_of_the_tokenizer(tokenizer_file: Path) -> None:
    detokenizers = Detokenizers({"tok_rgb": str(tokenizer_file)})
    with pytest.raises(DataError, match="32 codes"):
        detokenizers.picture(RGB, np.full((4, 4), 32))


def test_each_kind_of_output_has_its_colours() -> None:
    depth = torch.arange(16.0).view(1, 4, 4)
    picture = as_picture("tok_depth", depth).astype(int)
    assert picture.shape == (4, 4, 3)
    assert picture[0, 0, 2] > picture[0, 0, 0] and picture[3, 3, 0] > picture[3, 3, 2]
    classes = torch.nn.functional.one_hot(torch.tensor([[0, 5]]), 134).movedim(-1, 0).float()
    np.testing.assert_array_equal(as_picture("tok_semseg", classes)[0], CLASSES[[0, 5]])
    features = as_picture("tok_clip", torch.randn(512, 4, 4))
    assert features.shape == (4, 4, 3) and features.min() == 0 and features.max() == 255


def test_texts_that_are_pictures() -> None:
    drawn = boxes("v0=100 v1=0 v2=200 v3=300 teddy bear v0=500 v1=500 v2=999 v3=999 dog")
    assert (drawn != 255).any() and (drawn[-1, -1] == (255, 0, 0)).all()
    palette = bars("v1=2 v0=255 v0=0 v0=0 v0=0 v0=0 v0=255")
    assert palette[0, 0].tolist() == [255, 0, 0] and palette[0, -1].tolist() == [0, 0, 255]
    assert printable("tok_canny_edge@224") == "canny edge @224" and printable("det") == "det"
    tokens = np.array([[[0, 1], [0, 0]]] * 5)
    assert token_map(tokens).shape == (10, 2, 3)
    assert (token_map(tokens)[0, 0] != token_map(tokens)[0, 1]).any()
    entry: Any = {"tensor": torch.zeros(1, 3, 4096), "ascii_tensor": torch.tensor([[72, 105, 0]])}
    modality = REGISTRY["t5_caption"]
    assert show(modality, entry, 0, None, Detokenizers({})) == "Hi"
    assert pixels(torch.zeros(3, 2, 2))[0, 0].tolist() == [124, 116, 104]
