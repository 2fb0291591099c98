"""Lightning checkpoints: what is read, what is ignored, and what is refused with which words."""

from pathlib import Path
from typing import Any

import pytest
import torch

from base.errors import CheckpointError
from sign_backend.checkpoint import load_checkpoint
from sign_backend.config import SignConfig
from tests.sign_backend.tiny import tiny_model

PTN = {"model_name": "PTN", "num_classes": 5, "source_aspect_ratio": None, "d_pose": None}


def content(**changes: Any) -> dict[str, Any]:
    """A checkpoint of the tiny PoseFormer, as Lightning lays it out."""
    weights = {f"model.{name}": value for name, value in tiny_model().state_dict().items()}
    settings = {
        "model_name": "PoseFormer",
        "num_attention_layers": 2,
        "num_attention_heads": 2,
        "d_hidden": 8,
        "num_classes": [5],
        "source_aspect_ratio": [0.5625],
        "data_kind": "Mediapipe",
        "learning_rate": 3e-4,
        "checkpoint": None,
    }
    return {
        "epoch": 3,
        "optimizer_states": [],
        "state_dict": weights,
        "hyper_parameters": settings | changes,
    }


def saved(folder: Path, value: Any) -> Path:
    torch.save(value, folder / "model.ckpt")
    return folder / "model.ckpt"


def test_a_checkpoint_gives_the_model_that_was_saved(tmp_path):
    whole = content(sharpen=True, seed=7)
    whole["state_dict"]["criterion.weight"] = torch.ones(5)  # of the training only
    model = load_checkpoint(saved(tmp_path, whole))
    expected = tiny_model().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert model.config.sharpen_sigma == 0.0 and model.config.seed == 7


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source_aspect_ratio": 0.75}, {"source_aspect_ratio": (0.75,)}),
        ({"num_classes": [3, 2]}, {"num_classes": (3, 2), "num_languages": 2}),
        ({"num_classes": 4}, {"num_classes": (4,)}),
        ({"pf_dropout": None}, {"pf_dropout": 0.2, "lang_embedding_size": 4, "seed": 42}),
        ({"sharpen": True, "sharpen_sigma": 1.5}, {"sharpen_sigma": 1.5}),
        ({"sharpen": False, "sharpen_sigma": 1.5}, {"sharpen_sigma": None}),
        (PTN, {"generation": "v0.3", "d_pose": 201, "takes_features": True}),
        (PTN | {"mediapipe_2d": True}, {"d_pose": 134}),
        (PTN | {"source_aspect_ratio": [1.0]}, {"generation": "current", "d_pose": 134}),
        ({"source_aspect_ratio": None}, {"generation": "current", "source_aspect_ratio": ()}),
    ],
)
def test_settings_and_what_stands_for_missing_ones(changes, expected):
    config = SignConfig.from_hyper_parameters(content(**changes)["hyper_parameters"])
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    "name",
    ["model_name", "num_attention_layers", "num_attention_heads", "d_hidden", "num_classes"],
)
def test_a_setting_without_default_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match=f"lack {name}"):
        load_checkpoint(saved(tmp_path, content(**{name: None})))


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.ckpt.*misshapen.*head\.bias"):
        load_checkpoint(saved(tmp_path, content(num_classes=[6])))
    with pytest.raises(CheckpointError, match="VTN"):
        load_checkpoint(saved(tmp_path, content(model_name="VTN")))
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_checkpoint(saved(tmp_path, content(num_classes="many")))


def test_a_damaged_table_of_positions_is_refused(tmp_path):
    whole = content()
    whole["state_dict"]["model.pos_embed.pe"][0, 500, 3] += 0.5
    with pytest.raises(CheckpointError, match="table of positions"):
        load_checkpoint(saved(tmp_path, whole))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    whole = content()
    whole["state_dict"]["model.head.bias"][0] = torch.nan
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(saved(tmp_path, whole))


class _Code:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_files_that_are_no_checkpoint(tmp_path):
    path = tmp_path / "model.ckpt"
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(path)
    path.write_text("<html>sign in</html>")
    with pytest.raises(CheckpointError, match="web page"):
        load_checkpoint(path)
    torch.save(content(), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="not a whole"):
        load_checkpoint(path)
    torch.save({"state_dict": _Code()}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no hyper_parameters"):
        load_checkpoint(saved(tmp_path, content()["state_dict"]))
    with pytest.raises(CheckpointError, match="no hyper_parameters"):
        load_checkpoint(saved(tmp_path, [1, 2]))
