"""Models of recorded 4M cases, from what their manifests say of architecture and modalities."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from base.weights import load_strict
from fourm_backend.config import Architecture, ModelConfig
from fourm_backend.modalities import Modality
from fourm_backend.model import FourM

NEAR = 1e-5  # of intermediates and logits on CPU float32


def modality_of(name: str, spec: dict[str, Any]) -> Modality:
    """One modality as a manifest describes it."""
    kind = {"seq": "sequence", "seq_emb": "sequence_embeddings"}.get(spec["type"], "image_tokens")
    if "kind" in spec:
        kind = f"{spec['kind']}_tokens"
    if spec.get("pixels"):
        kind = "image_pixels"
    size, patch = spec.get("image_size"), spec.get("patch_size")
    return Modality(
        name,
        spec["type"],
        kind,
        spec.get("vocab_size", 0),
        (size, size) if isinstance(size, int) else tuple(size) if size else None,
        patch[-1] if isinstance(patch, list) else patch,
        spec.get("max_length", 0),
        spec.get("max_tokens"),
        spec.get("num_channels") or spec.get("orig_emb_dim", 0),
        learned_positions=not spec.get("sincos_pos_emb", True),
        decodable=not spec.get("pixels") and spec["type"] != "seq_emb",
    )


def build_model(folder: Path, entry: dict[str, Any]) -> FourM:
    """The model of a manifest entry with `arch`, `modalities`, `share_embedding` and `model`."""
    arch = dict(entry["arch"])
    architecture = Architecture(**arch, share_embedding=entry["share_embedding"])
    modalities = {name: modality_of(name, spec) for name, spec in entry["modalities"].items()}
    outputs = {name: each for name, each in modalities.items() if each.decodable}
    model = FourM(ModelConfig(architecture, modalities, outputs))
    load_strict(model, load_file(folder / entry["model"]), entry["model"])
    return model.eval().requires_grad_(False)


def rebuild(tensors: dict[str, Tensor], prefix: str, order: list[str]) -> dict[str, Any]:
    """A sample from `PREFIX/MODALITY/KEY`, in this order of modalities."""
    sample: dict[str, dict[str, Tensor]] = {}
    for name in order:
        start = f"{prefix}/{name}/"
        sample[name] = {
            key.removeprefix(start): value
            for key, value in tensors.items()
            if key.startswith(start)
        }
    return sample


def meta_shapes(config: ModelConfig) -> tuple[dict[str, list[int]], int]:
    """Names and shapes of a model's weights, and the number of its parameters, without memory."""
    with torch.device("meta"):
        model = FourM(config)
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    return shapes, sum(parameter.numel() for parameter in model.parameters())
