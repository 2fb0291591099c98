"""Published weights into a model: folders, single files, EgoM2P's `.pth`; nothing else is needed.

Strict: everything that is missing, unexpected or misshapen is named at once. Two names of one
tensor may be stored once: the other is restored.
"""

import argparse
import contextlib
import json
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from base.errors import CheckpointError, ConfigError
from base.files import read_json
from base.weights import load_strict
from fourm_backend.config import SIZES, VIDEO_SIZES, Architecture, ModelConfig
from fourm_backend.modalities import REGISTRY, VIDEO_FRAMES, Modality
from fourm_backend.model import FourM

logger = logging.getLogger(__name__)
_LONGEST_VALUE = 10_000  # characters of a setting in a file's header


def load_model(source: str | Path, device: str = "cpu", dtype: Any = None) -> FourM:
    """Load a model, frozen.

    Args:
        source: a folder with `config.json` and `model.safetensors`, one `.safetensors` file with
            the configuration in its header, EgoM2P's `.pth`, or the name of a model on the hub.
        device: where it runs.
        dtype: number type of the weights; None keeps that of the file.

    Raises:
        CheckpointError: files that are missing, damaged, or do not fit the configuration.
        ConfigError: a configuration that cannot be used.
    """
    path = Path(source)
    if path.suffix == ".pth":
        config, tensors = read_egom2p(path)
    elif path.suffix == ".safetensors":
        config, tensors = _read_single_file(path)
    else:
        config, tensors = _read_folder(path if path.exists() else _download(str(source)))
    with torch.device("meta"):
        model = FourM(config)
    load_strict(model, restore_aliases(model, tensors), str(source), assign=True)
    model.tie()
    return model.to(device=device, dtype=dtype).eval().requires_grad_(False)


def load_float32(source: str | Path, device: str = "cpu") -> FourM:
    """`load_model`; on a CPU, which is slow at half precision, in float32."""
    return load_model(source, device, torch.float32 if device == "cpu" else None)


def restore_aliases(model: FourM, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add names that were dropped because another one holds the same tensor."""
    complete = dict(tensors)
    pairs = []
    for name in model.decoder_embeddings:
        decoder = f"decoder_embeddings.{name}"
        pairs.append((f"{decoder}.to_logits.weight", f"{decoder}.token_emb.weight"))
        if name in model.encoder_embeddings:
            pairs.append((f"{decoder}.mod_emb", f"encoder_embeddings.{name}.mod_emb"))
    for one, other in (*pairs, *((second, first) for first, second in pairs)):
        if one not in complete and other in complete:
            complete[one] = complete[other]
    return complete


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        files = [hf_hub_download(name, file) for file in ("config.json", "model.safetensors")]
    except (HFValidationError, HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{name!r} is neither a folder or file here nor a model that could be fetched from the "
            f"hub ({reason}); expected a folder with config.json and model.safetensors, a "
            ".safetensors file, or a .pth of EgoM2P"
        ) from None
    return Path(files[0]).parent


def _read_folder(folder: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder} has no {name}; a model folder needs config.json and model.safetensors"
            )
    config = _config(read_json(folder / "config.json"), folder / "config.json")
    tensors, metadata = _read_tensors(folder / "model.safetensors")
    for dropped, kept in metadata.items():
        if kept in tensors and dropped not in tensors:
            tensors[dropped] = tensors[kept]
    return config, tensors


def _read_single_file(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    tensors, metadata = _read_tensors(path)
    values: dict[str, Any] = {}
    for key, text in metadata.items():
        values[key] = text
        if len(text) <= _LONGEST_VALUE:
            with contextlib.suppress(yaml.YAMLError):  # what is not YAML stays the text that it is
                values[key] = yaml.safe_load(text.replace("None", "null"))
    if "dim" not in values:
        raise CheckpointError(
            f"{path} holds no configuration in its header; load the folder with its config.json"
        )
    return _config(values, path), tensors


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is not a whole safetensors file: {error}. It "
            "may be a partial download; copy it again"
        ) from None


def _config(values: Any, where: Path) -> ModelConfig:
    if not isinstance(values, dict):
        raise CheckpointError(f"{where}: expected a JSON object with the model's settings")
    try:
        config, unknown = ModelConfig.from_file(values)
    except (ConfigError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {error}") from error
    unknown = [key for key in unknown if key != "format" and "embeddings." not in key]
    if unknown:
        logger.warning("%s: settings that are not used here: %s", where, ", ".join(unknown))
    return config


def read_egom2p(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Read EgoM2P's weights; the architecture is read off the tensors, no training data is needed.

    Raises:
        CheckpointError: no such file, not weights only, or modalities that are unknown.
    """
    tensors = read_pth(path)
    return infer_config(tensors, path), tensors


def read_pth(path: Path) -> dict[str, Tensor]:
    """The weights of a published `.pth`, which holds them as `model`, with weights only.

    Raises:
        CheckpointError: no such file, or not weights only.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read as weights only ({reason}). A file that needs to run code to "
            "load is refused; convert it to safetensors where you trust it"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise CheckpointError(f"{path}: expected entries 'model' (weights) and 'args'")
    return content["model"]


def infer_config(tensors: Mapping[str, Tensor], where: Path) -> ModelConfig:
    """Read architecture and modalities off the names and shapes of EgoM2P's weights.

    Raises:
        CheckpointError: weights that no build has.
    """
    if "mask_token" not in tensors:
        raise CheckpointError(f"{where}: no 'mask_token'; these are not the weights of a 4M model")
    dim = tensors["mask_token"].shape[-1]
    heads = {size[0]: size[2] for size in (*SIZES.values(), *VIDEO_SIZES.values())}
    if dim not in heads:
        raise CheckpointError(f"{where}: width {dim}; builds have {sorted(heads)}")
    depth = {
        side: len({key.split(".")[1] for key in tensors if key.startswith(f"{side}.")})
        for side in ("encoder", "decoder")
    }
    gated = "encoder.0.mlp.fc3.weight" in tensors
    architecture = Architecture(
        dim=dim,
        encoder_depth=depth["encoder"],
        decoder_depth=depth["decoder"],
        num_heads=heads[dim],
        qkv_bias="encoder.0.attn.qkv.bias" in tensors,
        proj_bias="encoder.0.attn.proj.bias" in tensors,
        mlp_bias="encoder.0.mlp.fc1.bias" in tensors,
        act_layer="SiLU" if gated else "GELU",
        gated_mlp=gated,
        norm_bias=not gated,  # registered builds with plain layers are those with biases
        qk_norm="encoder.0.attn.q_norm.weight" in tensors,
        share_embedding=True,
    )
    sides = {}
    for side in ("encoder", "decoder"):
        prefix = f"{side}_embeddings."
        names = sorted({key.split(".")[1] for key in tensors if key.startswith(prefix)})
        unknown = [name for name in names if name not in REGISTRY]
        if unknown:
            raise CheckpointError(f"{where}: unknown modalities {unknown}")
        sides[side] = {name: _sized(name, prefix, tensors) for name in names}
    return ModelConfig(architecture, sides["encoder"], sides["decoder"])


def _sized(name: str, prefix: str, tensors: Mapping[str, Tensor]) -> Modality:
    """The registered modality, with the picture size that its table of positions was made for."""
    entry = REGISTRY[name].at(256, 16)
    table = tensors.get(f"{prefix}{name}.pos_emb")
    if entry.kind != "video_tokens" or table is None:
        return entry
    assert entry.patch_size is not None
    side = round((table.shape[1] / VIDEO_FRAMES) ** 0.5) * entry.patch_size
    return Modality(**{**vars(entry), "image_size": (side, side)})


def config_json(config: ModelConfig) -> str:
    """A configuration as text, for fingerprints."""
    values = {
        "architecture": vars(config.architecture),
        "inputs": [vars(entry) for entry in config.inputs.values()],
        "outputs": [vars(entry) for entry in config.outputs.values()],
    }
    return json.dumps(values, sort_keys=True)
