"""A pipeline folder: config.json, transformer and VAE as safetensors, and the text encoder.

pipeline = InfinityPipeline.from_pretrained("folder")
result = pipeline(["a red circle"], seeds=[0], controller=get_pruning_ratio)
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from base.errors import CheckpointError, ConfigError
from base.files import read_json, write_atomic, write_json
from infinity_backend.checkpoints import load_weights
from infinity_backend.config import PipelineConfig, SamplingConfig
from infinity_backend.generate import Stepper
from infinity_backend.request import ImageRequest
from infinity_backend.text_encoder import TextEncoder
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

PRETRAINED = Path(__file__).parent / "pretrained"
GetPruningRatio = Callable[[int, int], float]


@dataclass(frozen=True)
class PipelineOutput:
    """Images and what they cost.

    Attributes:
        images: uint8 RGB [B, height, width, 3].
        cost_flops: [B] everything that was paid: text, stages, decoding.
        full_cost_flops: [B] the same with nothing pruned.
    """

    images: np.ndarray
    cost_flops: np.ndarray
    full_cost_flops: np.ndarray


@dataclass(frozen=True)
class InfinityPipeline:
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
        """Hash of weights, sampling, pruning, schedule and number type."""
        settings = json.dumps(self.config.to_json(), sort_keys=True)
        dtype = next(iter(self.stepper.model.block_list())).sa.proj.weight.dtype
        text = f"{self.weights_hash}\n{settings}\n{dtype}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        sampling: SamplingConfig | None = None,
    ) -> "InfinityPipeline":
        """Load a pipeline folder.

        Args:
            folder: a path, or the name of a model that comes with the package (`scenes`).
            device: where to run.
            dtype: number type of the blocks; norms, head and residual stream stay float32.
            sampling: replaces the folder's own settings.

        Raises:
            CheckpointError: a file is missing, damaged, or does not fit the configuration.
            ConfigError: config.json cannot be used.
        """
        path = Path(folder)
        if not (path / "config.json").is_file() and (PRETRAINED / str(folder)).is_dir():
            path = PRETRAINED / str(folder)
        if not (path / "config.json").is_file():
            raise CheckpointError(
                f"{path} is not a pipeline folder (config.json is missing); known names are "
                f"{sorted(entry.name for entry in PRETRAINED.glob('*') if entry.is_dir())}"
            )
        config = PipelineConfig.from_json(read_json(path / "config.json"))
        if sampling is not None:
            config = replace(config, sampling=sampling)
        model, vae = Infinity(config.infinity), VAE(config.vae)
        digest = hashlib.sha256()
        for module, name in ((model, "transformer"), (vae, "vae")):
            load_weights(module, read_weights(path / f"{name}.safetensors"), f"the {name}")
            digest.update(_file_hash(path / f"{name}.safetensors"))
        text_encoder = TextEncoder.from_pretrained(
            path / "text_encoder", config.infinity.text_maxlen
        )
        width = text_encoder.model.config.d_model
        if width != config.infinity.text_channels:
            raise CheckpointError(
                f"the text encoder in {path / 'text_encoder'} gives {width} channels; the "
                f"transformer was made for {config.infinity.text_channels}. Use the encoder that "
                "belongs to it (flan-t5-xl, 2048 channels, for the official models)"
            )
        for file in sorted((path / "text_encoder").glob("*.safetensors")):
            digest.update(_file_hash(file))
        for block in model.block_list():
            for part in (block.sa, block.ca, block.ffn):
                part.to(dtype)
        text_encoder.model.to(device)
        stepper = Stepper(
            model.to(device).eval().requires_grad_(False),
            vae.to(device).eval().requires_grad_(False),
            config,
        )
        return cls(stepper, text_encoder, digest.hexdigest()[:16])

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a pipeline folder; floating-point weights are stored as `dtype`."""
        folder = Path(folder)
        for name, module in (("transformer", self.stepper.model), ("vae", self.stepper.vae)):
            tensors = {
                key: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
                for key, value in module.state_dict().items()
            }
            write_atomic(folder / f"{name}.safetensors", partial(save_file, tensors))
        self.text_encoder.model.save_pretrained(folder / "text_encoder")
        self.text_encoder.tokenizer.save_pretrained(folder / "text_encoder")
        write_json(folder / "config.json", self.config.to_json())

    def __call__(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        controller: GetPruningRatio | None = None,
        batch_size: int = 16,
    ) -> PipelineOutput:
        """Generate one image per prompt.

        Args:
            prompts: what to draw.
            seeds: one per prompt.
            controller: `get_pruning_ratio(scale, num_scales)` with scale 0, 1, ...; 0 computes
                everything, 1.0 skips. None prunes nothing.
            batch_size: images drawn together.

        Raises:
            ConfigError: lengths differ, or a ratio is impossible.
        """
        from infinity_backend.generator import InfinityGenerator

        if len(prompts) != len(seeds):
            raise ConfigError(f"{len(prompts)} prompts and {len(seeds)} seeds; give one seed each")
        generator = InfinityGenerator(self)
        images, costs, full_costs = [], [], []
        for start in range(0, len(prompts), batch_size):
            pairs = zip(
                prompts[start : start + batch_size], seeds[start : start + batch_size], strict=True
            )
            requests = [ImageRequest(prompt, seed) for prompt, seed in pairs]
            state = generator.begin(requests)
            fixed = np.array([generator.fixed_cost(request) for request in requests])
            spent = fixed.copy()
            for stage in range(self.stepper.num_stages):
                ratio = controller(stage, self.stepper.num_stages) if controller else 0.0
                decision = generator.decision_space.complete({"prune_ratio": ratio})
                decisions: list[Any] = [decision] * len(requests)
                spent += generator.cost(state, decisions)
                state = generator.advance(state, decisions)
            full = [sum(stage.cost_flops for stage in generator.stages(r)) for r in requests]
            images.append(generator.finish(state))
            costs.append(spent)
            full_costs.append(fixed + np.array(full))
        return PipelineOutput(*(np.concatenate(parts) for parts in (images, costs, full_costs)))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises:
        CheckpointError: it is missing, cut short or not safetensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a pipeline folder needs it")
    try:
        return load_file(path)
    except SafetensorError as error:
        size = path.stat().st_size
        raise CheckpointError(
            f"{path} ({size} bytes) is not a whole safetensors file: {error}. It may be a partial "
            "copy or download; copy it again"
        ) from None


def _file_hash(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
