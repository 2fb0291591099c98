"""Every name and shape of the official checkpoints, on the meta device: no weights are needed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infinity_backend.architecture import VAEConfig
from infinity_backend.official import transformer_config, vae_config
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

FILE = Path(__file__).parents[1] / "data" / "contracts" / "state_dicts.json"
CONTRACTS: dict[str, dict[str, Any]] = json.loads(FILE.read_text())
TRANSFORMERS = sorted(n for n, c in CONTRACTS.items() if c["kind"] == "transformer")
VAES = sorted(n for n, c in CONTRACTS.items() if c["kind"] == "vae")
BITS_OF_VAE = {"infinity_2b": 32, "infinity_8b": 14}


def contract(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint; repeated blocks are stored once."""
    entry = CONTRACTS[name]
    shapes = dict(entry["once"])
    for chunk in range(entry.get("chunks", 0)):
        for block in range(entry["blocks_per_chunk"]):
            for key, shape in entry["each_block"].items():
                shapes[f"block_chunks.{chunk}.module.{block}.{key}"] = shape
    return {key: tuple(shape) for key, shape in shapes.items()}


def meta_state(name: str) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in contract(name).items()}


def check(module: torch.nn.Module, name: str) -> None:
    found = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert found == contract(name)
    assert sum(p.numel() for p in module.parameters()) == CONTRACTS[name]["parameters"]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_transformer_is_told_by_its_shapes(name: str) -> None:
    config = transformer_config(meta_state(name), BITS_OF_VAE[name], name)
    with torch.device("meta"):
        check(Infinity(config), name)
    sizes = (config.depth, config.num_heads, config.block_chunks, config.text_maxlen)
    assert sizes == {"infinity_2b": (32, 16, 8, 512), "infinity_8b": (40, 28, 8, 512)}[name]
    assert config.apply_spatial_patchify == (name == "infinity_8b")


@pytest.mark.parametrize("name", VAES)
def test_the_vae_is_told_by_its_shapes(name: str) -> None:
    config = vae_config(meta_state(name), name)
    assert config == VAEConfig(**CONTRACTS[name]["config"])
    with torch.device("meta"):
        check(VAE(config), name)
    masks = CONTRACTS[name]["mask"]
    small = VAE(VAEConfig(codebook_dim=len(masks), base_ch=32, ch_mult=(1,), patch_size=1))
    assert small.quantizer.lfq.mask.tolist() == masks  # type: ignore[union-attr]


def test_all_official_files_have_a_contract() -> None:
    assert TRANSFORMERS == ["infinity_2b", "infinity_8b"] and len(VAES) == 7
