"""Published weights: that they load, and names, shapes and modalities of every model."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from fourm_backend.checkpoints import load_model
from fourm_backend.config import ModelConfig, build
from fourm_backend.decoding import ask, read_contexts
from fourm_backend.modalities import EGOM2P, REGISTRY
from tests.conformance.checks import Checks
from tests.conformance.fourm_model import NEAR, meta_shapes
from tests.conformance.fourm_motion import tokenizer_shapes


def check_loading(folder: Path, source: str, checks: Checks) -> None:
    """Weights in published form: names, aliases, logits."""
    model = load_model(folder / source)
    tensors = load_file(folder / "fm_tiny_logits.safetensors")
    visible = torch.zeros(1, 16, dtype=torch.bool)
    entry = {"tensor": tensors["input"], "input_mask": visible}
    (context,) = read_contexts(model, [{"tok_imagebind_global": entry}])
    (logits,) = ask(model, context, "tok_dinov2_global", torch.arange(16)[None])
    checks.near("logits", logits, tensors["logits"], NEAR)


def check_shapes(listing: dict[str, Any], checks: Checks) -> None:
    """Names and shapes of all weights of a published model."""
    if "config_reconstructed" in listing:
        config, _ = ModelConfig.from_file(listing["config_reconstructed"])
        shapes, parameters = meta_shapes(config)
    elif "domains" in listing:
        modalities = {name: EGOM2P[name] for name in listing["domains"]}
        shapes, parameters = meta_shapes(
            ModelConfig(build("base", video=True), modalities, modalities)
        )
    else:
        shapes, parameters = tokenizer_shapes(listing)
    expected = listing["state_dict"]
    wrong = {name for name in set(shapes) | set(expected) if shapes.get(name) != expected.get(name)}
    checks.near("names and shapes that differ", torch.tensor(len(wrong)), torch.tensor(0), 0.0)
    counted = torch.tensor(listing["unique_params"])
    checks.equal("parameters", torch.tensor(parameters), counted)


def check_registry(listing: dict[str, Any], checks: Checks) -> None:
    """Every modality that has an embedding, with its sizes."""
    for name, entry in listing.items():
        if entry["encoder"] is None and entry["decoder"] is None:
            continue
        known, given = REGISTRY.get(name), entry["encoder"]
        same = known is not None and (
            known.type == entry["type"]
            and known.id == entry["id"]
            and known.kind == given["kind"]
            and known.vocab_size == entry.get("vocab_size", 0)
            and known.max_length in (given.get("max_length"), 0, 30)
            and known.max_tokens == entry["max_tokens"]
            and known.patch_size == entry.get("patch_size")
            and known.learned_positions == (not given.get("sincos_pos_emb", True))
            and known.decodable == (entry["decoder"] is not None)
        )
        checks.equal(f"modality {name}", torch.tensor(same), torch.tensor(True))
