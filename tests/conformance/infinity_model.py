"""Builds the models that a manifest describes."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from infinity_backend.architecture import InfinityConfig, VAEConfig
from infinity_backend.checkpoints import load_weights
from infinity_backend.config import PipelineConfig, PruningConfig, SamplingConfig
from infinity_backend.generate import Stepper
from infinity_backend.schedule import official_schedule
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

FASTVAR_TABLE = {32: 0.4, 40: 0.5}


def build_config(entry: dict[str, Any], call: dict[str, Any]) -> PipelineConfig:
    """The pipeline configuration of one case."""
    known = {field.name for field in fields(InfinityConfig)}
    given = {name: value for name, value in entry["infinity"].items() if name in known}
    patchify = bool(given.get("apply_spatial_patchify"))
    bits = entry["vae"]["codebook_dim"] * (4 if patchify else 1)
    sched = call["sched"] or {"h_div_w_template": 1.0, "pn": "0.06M"}
    schedule, rope_grid = official_schedule(sched["h_div_w_template"], sched["pn"])
    rounding = "floor_pruned" if call["reference_tree"].startswith("FastVAR") else "floor_kept"
    return PipelineConfig(
        name=call["config"],
        infinity=InfinityConfig(bits=bits, **given),
        vae=VAEConfig(**entry["vae"]),
        schedule=schedule,
        rope_grid=rope_grid,
        sampling=SamplingConfig(
            cfg=call["cfg"],
            tau=call["tau"],
            top_k=call["top_k"],
            top_p=call["top_p"],
            cfg_insertion_layer=tuple(call["cfg_insertion_layer"]),
            noise="sequential",
        ),
        pruning=PruningConfig(keep_rounding=rounding),
    )


def build_stepper(folder: Path, entry: dict[str, Any], call: dict[str, Any]) -> Stepper:
    """A freshly built model with the weights of the manifest."""
    config = build_config(entry, call)
    model, vae = Infinity(config.infinity).eval(), VAE(config.vae).eval()
    load_weights(model, load_file(folder / entry["infinity_weights"]), "the transformer")
    load_weights(vae, load_file(folder / entry["vae_weights"]), "the VAE")
    return Stepper(model.requires_grad_(False), vae.requires_grad_(False), config)


def ratios_of(call: dict[str, Any], schedule: tuple[tuple[int, int], ...]) -> list[float]:
    """The prune ratio of every stage, by the rules of the case's reference tree."""
    tree = call["reference_tree"]
    if call["method"] in ("step", "dft"):
        given = zip(call["ratios"], schedule, strict=True)
        # Neither no ratio nor a negative one is a ratio of its own: the built-in table applies.
        return [
            FASTVAR_TABLE.get(w, 0.0) if r is None or r < 0 else min(float(r), 1.0)
            for r, (_, w) in given
        ]
    if tree.startswith("FastVAR"):
        return [1.0 if w in (48, 64) else FASTVAR_TABLE.get(w, 0.0) for _, w in schedule]
    if tree.startswith("FastRLVAR"):
        table = call.get("prune_cfg")
        table = FASTVAR_TABLE if table is None else {int(w): r for w, r in table.items()}
        return [min(1.0, max(0.0, table.get(w, 0.0))) for _, w in schedule]
    return [0.0] * len(schedule)


def unpack_bits(packed: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """Big-endian packed bits to a bool tensor of the given shape."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
    bits = (packed[:, None] >> shifts) & 1
    count = int(torch.tensor(shape).prod())
    return bits.flatten()[:count].view(shape).bool()
