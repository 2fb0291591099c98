"""Weights in every published form load strictly, and what does not fit is named."""

import argparse
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from base.errors import CheckpointError, ConfigError
from fourm_backend.checkpoints import load_model
from fourm_backend.config import ModelConfig, build
from fourm_backend.modalities import EGOM2P
from fourm_backend.model import FourM

CONFIG = {
    "domains_in": ["tok_dinov2_global", "tok_imagebind_global"],
    "domains_out": ["tok_dinov2_global"],
    "dim": 8,
    "encoder_depth": 1,
    "decoder_depth": 1,
    "num_heads": 2,
    "image_size": 224,
    "patch_size": 16,
}
ENCODER_MARK = "encoder_embeddings.tok_dinov2_global.mod_emb"
DECODER_MARK = "decoder_embeddings.tok_dinov2_global.mod_emb"


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    model = FourM(ModelConfig.from_file(CONFIG)[0])
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model: FourM, tensors: dict[str, torch.Tensor]) -> bool:
    state = model.state_dict()
    return set(state) == set(tensors) and all(
        torch.equal(state[name], tensors[name]) for name in tensors
    )


def test_a_folder_with_a_dropped_alias(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    stored = {name: value for name, value in tensors.items() if name != ENCODER_MARK}
    save_file(stored, tmp_path / "model.safetensors", metadata={ENCODER_MARK: DECODER_MARK})
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    model = load_model(tmp_path)
    assert same(model, tensors)
    assert model.input("tok_dinov2_global").mod_emb is model.target("tok_dinov2_global").mod_emb


def test_an_alias_that_no_header_names(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    stored = {name: value for name, value in tensors.items() if name != DECODER_MARK}
    save_file(stored, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert same(load_model(tmp_path), tensors)


def test_a_single_file_with_its_settings_as_text(
    tensors: dict[str, torch.Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {name: str(value) for name, value in CONFIG.items()} | {"qk_norm": "False"}
    extra = {"note": "{not: [yaml", "nothing": "None"}
    save_file(tensors, tmp_path / "one.safetensors", metadata=settings | extra)
    assert same(load_model(tmp_path / "one.safetensors"), tensors)
    assert "note, nothing" in caplog.text


def test_what_does_not_fit_is_named(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    wrong = {name: value for name, value in tensors.items() if name != "mask_token"}
    wrong |= {"surplus": torch.zeros(1), "decoder_norm.weight": torch.zeros(9)}
    save_file(wrong, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(CheckpointError, match=r"1 missing.*mask_token.*surplus.*file \[9\]"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"domains_in": ["tok_unknown"]}, "tok_unknown"),
        ({"num_heads": 3}, "3 heads"),
        ({"act_layer": "Tanh"}, "Tanh"),
    ],
)
def test_settings_that_cannot_be_used(change: dict, told: str, tmp_path: Path) -> None:
    save_file({"mask_token": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(CheckpointError, match=told):
        load_model(tmp_path)


def test_a_file_cut_short(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    save_file(tensors, file, metadata={name: str(value) for name, value in CONFIG.items()})
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_model(file)


def test_a_missing_file_and_an_unknown_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, file: str) -> str:
        raise OSError(f"{name}/{file} cannot be reached")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    for source in (tmp_path / "no.safetensors", tmp_path / "no.pth", tmp_path, "some/model"):
        with pytest.raises(CheckpointError):
            load_model(source)


def ego_weights() -> dict[str, torch.Tensor]:
    """EgoM2P's names with motion only and one block, so that the file is small."""
    modalities = {name: EGOM2P[name] for name in ("tok_gaze", "tok_cam")}
    architecture = build("tiny", video=True)
    model = FourM(ModelConfig(architecture, modalities, modalities))
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if not any(f"coder.{block}." in name for block in range(1, 6))
    }


def test_egom2p_needs_no_training_data(tmp_path: Path) -> None:
    weights = ego_weights()
    arguments = argparse.Namespace(model="egom2p", data_config="somewhere.yaml")
    torch.save({"model": weights, "args": arguments}, tmp_path / "ego.pth")
    model = load_model(tmp_path / "ego.pth")
    assert same(model, weights)
    decoder = model.target("tok_gaze")
    assert decoder.to_logits.weight is decoder.token_emb.weight
    assert model.config.architecture.num_heads == 6


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "hacked"),)

    torch.save({"model": Attack()}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="refused"):
        load_model(tmp_path / "bad.pth")
    assert not (tmp_path / "hacked").exists()


def test_builds() -> None:
    assert build("large", video=True).dim % 6 == 0
    assert build("base", "swiglu_qknorm_nobias").qk_norm
    assert build("tiny", "gelu").mlp_hidden == 4 * 384
    assert [build(size).mlp_hidden for size in ("base", "large", "xlarge")] == [2048, 2730, 5461]
    with pytest.raises(ConfigError, match="no build"):
        build("tiny", "swiglu_qknorm_nobias")


def test_a_model_may_have_modalities_of_its_own_sizes() -> None:
    own = {
        "tok_rgb": {"vocab_size": 12, "image_size": [16, 16], "patch_size": 8},
        "tok_sound": {"type": "img", "kind": "motion_tokens", "vocab_size": 5},
    }
    values = {
        "domains_in": ["tok_rgb", "tok_cam"],
        "domains_out": ["tok_sound"],
        "dim": 24,
        "num_heads": 3,
        "modalities": own,
    }
    config, unknown = ModelConfig.from_file(values)
    assert not unknown and config.inputs["tok_rgb"].grid == (5, 2, 2)
    assert config.inputs["tok_cam"].vocab_size == 256 and config.outputs["tok_sound"].grid == (30,)
    again, unknown = ModelConfig.from_file(json.loads(json.dumps(config.to_file())))
    assert again == config and not unknown
    with pytest.raises(ConfigError, match="unknown fields"):
        ModelConfig.from_file({**values, "modalities": {"tok_rgb": {"vocabulary": 1}}})
