"""EgoM2P's motion tokenizers against recorded numbers."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from base.weights import load_strict
from fourm_backend.motion import MotionTokenizer, motion_settings
from tests.conformance.checks import Checks


def check_motion_tokenizer(path: Path, entry: dict[str, Any], checks: Checks) -> None:
    """Tokens, codes and what is decoded from them."""
    tensors = load_file(path)
    kind = "cam" if tensors["decoded"].shape[2] == 9 else "gaze"
    settings = motion_settings(
        kind,
        entry["n_frames"],
        entry["temporal_compress"],
        dim=entry["dim_tokens"],
        depth=entry["depth"],
        num_heads=entry["num_heads"],
        codebook_size=entry["codebook_size"],
        latent_dim=entry["latent_dim"],
    )
    tokenizer = MotionTokenizer(settings)
    weights = {k.removeprefix("sd/"): v for k, v in tensors.items() if k.startswith("sd/")}
    load_strict(tokenizer, weights, path.name)
    tokens = tokenizer.encode(tensors["input"])
    checks.equal("tokens", tokens, tensors["tokens"])
    codes = tokenizer.codes[tokens].transpose(1, 2)
    checks.near("codes", codes, tensors["embedding"], 1e-5)
    checks.near("decoded", tokenizer.decode(tensors["tokens"]), tensors["decoded"], 1e-5)


def tokenizer_shapes(listing: dict[str, Any]) -> tuple[dict[str, list[int]], int]:
    """Names and shapes of the published tokenizer, without memory."""
    kind = "cam" if listing["state_dict"]["encoder.conv.weight"][1] == 9 else "gaze"
    settings = motion_settings(
        kind,
        listing["num_frames"],
        listing["temporal_compress"],
        codebook_size=listing["codebook_size"],
        latent_dim=listing["latent_dim"],
    )
    with torch.device("meta"):
        tokenizer = MotionTokenizer(settings)
    shapes = {name: list(value.shape) for name, value in tokenizer.state_dict().items()}
    return shapes, sum(parameter.numel() for parameter in tokenizer.parameters())
