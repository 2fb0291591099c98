"""A model as a folder: `config.json`, `model.safetensors`, and the names of what it tells apart."""

from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from base.errors import CheckpointError, ConfigError
from base.files import read_json, write_atomic, write_json
from base.weight_files import check_finite, read_weights
from base.weights import load_strict
from sign_backend.checkpoint import SignModel, build_model, load_checkpoint
from sign_backend.config import SignConfig

PRETRAINED = Path(__file__).with_name("pretrained")
SIGNERS = PRETRAINED / "signers"  # of the synthetic signers: comes with the package
_TUPLES = ("num_classes", "source_aspect_ratio")


def load_model(text: str, device: str | torch.device = "cpu") -> tuple[SignModel, Path]:
    """Load a model, frozen, by what a user calls it.

    Args:
        text: `signers` (comes with the package), a folder as this module writes it, or a
            checkpoint of the SignON training script.
        device: where it runs.

    Returns:
        the model, and the file that holds its weights.

    Raises:
        CheckpointError: see `load_folder` and `load_checkpoint`.
    """
    path = SIGNERS if text == "signers" else Path(text)
    if path.is_dir():
        return load_folder(path, device), path / "model.safetensors"
    return load_checkpoint(path, device), path


def save_folder(model: SignModel, folder: Path, classes: tuple[str, ...]) -> None:
    """Write a model's folder.

    Args:
        model: its configuration and weights.
        folder: made if it does not exist.
        classes: a name for each score.
    """
    tensors = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    write_atomic(folder / "model.safetensors", lambda target: save_file(tensors, target))
    write_json(folder / "config.json", {**asdict(model.config), "classes": classes})


def load_folder(folder: Path, device: str | torch.device = "cpu") -> SignModel:
    """Load a model, frozen.

    Raises:
        CheckpointError: a file is missing or damaged, or they do not fit each other.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} has no config.json; expected a folder of a sign model")
    values = read_json(folder / "config.json")
    known = {name: values[name] for name in SignConfig.__dataclass_fields__ if name in values}
    known |= {name: tuple(known[name]) for name in _TUPLES if name in known}
    try:
        config = SignConfig(**known)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from None
    tensors = read_weights(folder / "model.safetensors")
    check_finite(tensors, folder / "model.safetensors")
    with torch.device("meta"):
        model = build_model(config)
    load_strict(model, tensors, f"the {config.model_name} of {folder}", assign=True)
    return model.to(device).eval().requires_grad_(False)


def class_names(folder: Path) -> tuple[str, ...]:
    """A name for each score of the model in this folder."""
    return tuple(read_json(folder / "config.json")["classes"])
