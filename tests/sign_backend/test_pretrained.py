"""Models as folders: what was saved comes back, what is damaged is named."""

import json

import pytest
import torch

from base.errors import CheckpointError
from sign_backend.pretrained import SIGNERS, class_names, load_folder, load_model, save_folder
from signers.gestures import GESTURES
from tests.sign_backend.sign_clips import small_model


def test_a_folder_comes_back(tmp_path):
    model = small_model()
    save_folder(model, tmp_path / "m", tuple("abcde"))
    again, weights = load_model(str(tmp_path / "m"))
    assert again.config == model.config and weights.is_file()
    assert class_names(tmp_path / "m") == tuple("abcde")
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_the_shipped_model_knows_the_gestures():
    model, weights = load_model("signers")
    assert weights.parent == SIGNERS and class_names(SIGNERS) == GESTURES
    assert model.config.num_classes == (20,)
    assert weights.stat().st_size < 3e6


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_folder(tmp_path)
    save_folder(small_model(), tmp_path, tuple("abcde"))
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"d_hidden": 32}))
    with pytest.raises(CheckpointError, match="misshapen"):
        load_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(settings | {"d_hidden": 15}))
    with pytest.raises(CheckpointError, match="not a multiple"):
        load_folder(tmp_path)
