"""A model in memory: transformer, VAE, settings and text encoder; and how it is written to disk.

A pipeline folder holds config.json, transformer and VAE as safetensors, the text encoder, and
checksums.json. `infinity_backend/load.py` reads it back.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from base.errors import CheckpointError
from base.files import write_atomic, write_json
from base.weight_files import file_hash
from infinity_backend.checkpoints import load_weights
from infinity_backend.config import PipelineConfig
from infinity_backend.generate import Stepper
from infinity_backend.text_encoder import TextEncoder
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

NUMERICS = 2  # goes up whenever the same weights and settings give other pictures than before


@dataclass(frozen=True)
class InfinityParts:
    """Everything that turns prompts into images.

    Attributes:
        stepper: transformer, VAE and settings.
        text_encoder: prompts to features.
        weights_hash: hash of all weight files.
    """

    stepper: Stepper
    text_encoder: TextEncoder
    weights_hash: str

    @property
    def config(self) -> PipelineConfig:
        """All settings."""
        return self.stepper.config

    @property
    def fingerprint(self) -> str:
        """Hash of weights, sampling, pruning, schedule, number type and `NUMERICS`."""
        settings = json.dumps(self.config.to_json(), sort_keys=True)
        dtype = next(iter(self.stepper.model.block_list())).sa.proj.weight.dtype
        text = f"{self.weights_hash}\n{settings}\n{dtype}\n{NUMERICS}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a pipeline folder; weights keep the number types that they have here."""
        folder = Path(folder)
        for name, module in (("transformer", self.stepper.model), ("vae", self.stepper.vae)):
            tensors = {key: t.contiguous().cpu() for key, t in module.state_dict().items()}
            write_atomic(folder / f"{name}.safetensors", partial(save_file, tensors))
        self.text_encoder.model.save_pretrained(folder / "text_encoder")
        self.text_encoder.tokenizer.save_pretrained(folder / "text_encoder")
        files = [*folder.glob("*.safetensors"), *folder.glob("text_encoder/*.safetensors")]
        sums = {str(file.relative_to(folder)): file_hash(file) for file in sorted(files)}
        write_json(folder / "checksums.json", sums)
        write_json(folder / "config.json", self.config.to_json())  # last: now it is a pipeline


def assemble(
    config: PipelineConfig,
    transformer: Mapping[str, torch.Tensor],
    vae: Mapping[str, torch.Tensor],
    text_encoder: TextEncoder,
    weights_hash: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    text_encoder_device: str | None = None,
) -> InfinityParts:
    """Put state dicts and a text encoder together; arguments as for `load_parts`.

    Modules are made without memory of their own, so that a large model is held once.

    Raises:
        CheckpointError: weights or text encoder do not fit the configuration.
    """
    width = text_encoder.model.config.d_model
    if width != config.infinity.text_channels:
        raise CheckpointError(
            f"the text encoder gives {width} channels; the transformer was made for "
            f"{config.infinity.text_channels}. Use the encoder that belongs to it (flan-t5-xl, "
            "2048 channels, for the official models)"
        )
    with torch.device("meta"):
        model, decoder = Infinity(config.infinity), VAE(config.vae)
    for block in model.block_list():
        for part in (block.sa, block.ca, block.ffn):
            part.to(dtype)
    load_weights(model, transformer, "the transformer")
    load_weights(decoder, vae, "the vae")
    text_encoder.model.to(text_encoder_device or device)
    stepper = Stepper(
        model.to(device).eval().requires_grad_(False),
        decoder.to(device).eval().requires_grad_(False),
        config,
    )
    return InfinityParts(stepper, text_encoder, weights_hash)
