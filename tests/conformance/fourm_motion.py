"""EgoM2P's motion tokenizers against recorded numbers."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from base.weights import load_strict
from fourm_backend.motion import MotionSettings, MotionTokenizer
from tests.conformance.checks import Checks


def check_motion_tokenizer(path: Path, entry: dict[str, Any], checks: Checks) -> None:
    """Tokens, codes and what is decoded from them."""
    tensors = load_file(path)
    kind = "cam" if tensors["decoded"].shape[2] == 9 else "gaze"
    settings = MotionSettings(
        kind,
        entry["dim_tokens"],
        entry["depth"],
        entry["num_heads"],
        entry["codebook_size"],
        entry["latent_dim"],
        entry["n_frames"],
        entry["temporal_compress"],
    )
    tokenizer = MotionTokenizer(settings)
    weights = {k.removeprefix("sd/"): v for k, v in tensors.items() if k.startswith("sd/")}
    load_strict(tokenizer, weights, path.name)
    tokens, codes = tokenizer.encode(tensors["input"])
    checks.equal("tokens", tokens, tensors["tokens"])
    checks.near("codes", codes, tensors["embedding"], 1e-5)
    checks.near("decoded", tokenizer.decode(tensors["tokens"]), tensors["decoded"], 1e-5)


def tokenizer_shapes(listing: dict[str, Any]) -> tuple[dict[str, list[int]], int]:
    """Names and shapes of the published tokenizer, without memory."""
    kind = "cam" if listing["state_dict"]["encoder.conv.weight"][1] == 9 else "gaze"
    settings = MotionSettings(
        kind,
        codebook_size=listing["codebook_size"],
        latent_dim=listing["latent_dim"],
        frames=listing["num_frames"],
        temporal_compress=listing["temporal_compress"],
    )
    with torch.device("meta"):
        tokenizer = MotionTokenizer(settings)
    shapes = {name: list(value.shape) for name, value in tokenizer.state_dict().items()}
    return shapes, sum(parameter.numel() for parameter in tokenizer.parameters())
