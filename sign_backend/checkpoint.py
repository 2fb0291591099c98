"""SignON's Lightning checkpoints into models; Lightning is not needed, and no code is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from base.errors import CheckpointError
from base.weight_files import check_finite, check_weights_file, read_pytorch
from base.weights import load_strict
from sign_backend.config import SignConfig
from sign_backend.poseformer import PoseFormer
from sign_backend.positions import PositionTable
from sign_backend.ptn import PTN

SignModel = PoseFormer | PTN
_PREFIX = "model."


def build_model(config: SignConfig) -> SignModel:
    """Make the model of a configuration, with fresh weights, for training."""
    return PoseFormer(config) if config.model_name == "PoseFormer" else PTN(config)


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> SignModel:
    """Load a model, frozen; its `config` says all that the checkpoint says.

    Args:
        path: a `.ckpt` of the SignON training script, of any generation.
        device: where it runs.

    Raises:
        CheckpointError: missing, damaged, not such a checkpoint, or weights and settings that do
            not fit each other.
    """
    path = Path(path)
    check_weights_file(path)
    content = read_pytorch(path)
    settings, weights = (_mapping(content, name, path) for name in _PARTS)
    try:
        config = SignConfig.from_hyper_parameters(settings)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    tensors = {
        name.removeprefix(_PREFIX): value.float()
        for name, value in weights.items()
        if name.startswith(_PREFIX) and isinstance(value, Tensor)  # the rest is of the training
    }
    check_finite(tensors, path)
    with torch.device("meta"):
        model = build_model(config)
    load_strict(model, tensors, f"the {config.model_name} of {path}", assign=True)
    for table in (module for module in model.modules() if isinstance(module, PositionTable)):
        table.check(str(path))
    return model.to(device).eval().requires_grad_(False)


_PARTS = ("hyper_parameters", "state_dict")


def _mapping(content: Any, name: str, path: Path) -> Mapping[str, Any]:
    part = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(part, Mapping) or not part:
        raise CheckpointError(
            f"{path} has no {name}; expected a checkpoint as SignON's training (PyTorch Lightning) "
            f"writes it, with {' and '.join(_PARTS)}"
        )
    return part
