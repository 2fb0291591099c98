"""Plain forward passes of 4M and EgoM2P against recorded numbers."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from fourm_backend.forward import forward, losses
from fourm_backend.model import FourM
from fourm_backend.packing import embed
from tests.conformance.checks import Checks
from tests.conformance.fourm_model import NEAR, build_model, rebuild


def check_forward(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """Every intermediate value of a plain forward pass, and the losses."""
    model = build_model(folder, entry)
    tensors = load_file(folder / f"{entry['name']}.safetensors")
    order = entry["encoder_order"]
    sample = rebuild(tensors, "in", order)
    for name in sample:
        for side, module in (("enc", model.encoder_embeddings), ("dec", model.decoder_embeddings)):
            if name not in module or f"{side}_emb/{name}/x" not in tensors:
                continue
            if side == "enc":
                content, places = embed(model, name, sample[name])
            else:
                decoder = model.target(name)
                content = decoder.token_emb(sample[name]["tensor"].flatten(1).long())
                places = decoder.places(sample[name]["target_mask"])
            checks.near("embeddings", content, tensors[f"{side}_emb/{name}/x"], NEAR)
            checks.near("embeddings", places, tensors[f"{side}_emb/{name}/emb"], NEAR)
    counts = entry["num_encoder_tokens"], entry["num_decoder_tokens"]
    result = forward(model, sample, *counts, entry["decoder_order_used"])
    content, places, ignored = model.with_registers(
        result.inputs.content, result.inputs.places, result.inputs.ignored
    )
    registers = content.shape[1] - result.inputs.content.shape[1]
    tags = torch.cat([torch.full((len(content), registers), -1), result.inputs.tags], dim=1)
    packed = result.targets.packed
    for name, value in {
        "enc/tokens": content,
        "enc/emb": places,
        "enc/out": result.encoded,
        "dec/context": result.context,
        "dec/tokens": packed.content,
        "dec/emb": packed.places,
        "dec/out": result.output,
    }.items():
        checks.near(name, value, tensors[name], NEAR)
    assert ignored is not None
    for name, value in {
        "enc/mask": ignored,
        "enc/mod_mask": tags,
        "dec/mask": packed.ignored,
        "dec/mod_mask": packed.tags,
        "dec/attn_mask": result.targets.hidden,
        "dec/target_ids": result.targets.ids,
    }.items():
        checks.equal(name, value, tensors[name])
    for name, logits in result.logits.items():
        checks.near("logits", logits, tensors[f"logits_sel/{name}"], NEAR)
        everywhere = model.target(name).to_logits(result.output)
        checks.near("logits", everywhere, tensors[f"logits_all/{name}"], NEAR)
    _check_losses(model, result, entry, checks)


def _check_losses(model: FourM, result: Any, entry: dict[str, Any], checks: Checks) -> None:
    for kind in ("mod", "token", "weighted_mod"):
        if f"loss_{kind}" in entry:
            total, each = losses(result, model, kind)
            checks.near("losses", total, torch.tensor(entry[f"loss_{kind}"]), NEAR)
            for name, loss in entry.get("loss_per_mod", {}).items():
                checks.near("losses", each[name], torch.tensor(loss), NEAR)


def check_ego(folder: Path, manifest: dict[str, Any], checks: Checks) -> None:
    """The plain forward pass of EgoM2P."""
    model = build_model(folder, manifest)
    every = load_file(folder / manifest["file"])
    tensors = {name.removeprefix("forward/"): value for name, value in every.items()}
    entry = manifest["forward"]
    sample = rebuild(tensors, "in", list(manifest["modalities"]))
    counts = entry["num_encoder_tokens"], entry["num_decoder_tokens"]
    result = forward(model, sample, *counts, entry["decoder_order_used"])
    packed = result.targets.packed
    checks.equal("enc_mask", result.inputs.ignored, tensors["enc_mask"])
    checks.equal("attn", result.targets.hidden, tensors["attn"])
    checks.near("context", result.context, tensors["context"], NEAR)
    checks.near("y0", packed.content + packed.places, tensors["y0"], NEAR)
    checks.near("y", result.output, tensors["y"], NEAR)
    for name in entry["decoder_order_used"]:
        logits = model.target(name).to_logits(result.output)
        checks.near("logits", logits, tensors[f"logits_all/{name}"], NEAR)
    _check_losses(model, result, entry, checks)
