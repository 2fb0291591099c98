"""A pipeline folder: config.json, transformer and VAE as safetensors, and the text encoder.

pipeline = InfinityPipeline.from_pretrained("folder")
result = pipeline(["a red circle"], seeds=[0], controller=get_pruning_ratio)
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from base.errors import CheckpointError, ConfigError
from base.files import read_json, write_atomic, write_json
from base.weight_files import check_hash, file_hash, read_weights
from infinity_backend.checkpoints import load_weights
from infinity_backend.config import PipelineConfig, SamplingConfig
from infinity_backend.generate import Stepper
from infinity_backend.memory import estimate_memory
from infinity_backend.request import ImageRequest
from infinity_backend.schedule import change_aspect
from infinity_backend.text_encoder import TextEncoder
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

logger = logging.getLogger(__name__)
PRETRAINED = Path(__file__).parent / "pretrained"
GetPruningRatio = Callable[[int, int], float]
NUMERICS = 2  # goes up whenever the same weights and settings give other pictures than before


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
        """Hash of weights, sampling, pruning, schedule, number type and `NUMERICS`."""
        settings = json.dumps(self.config.to_json(), sort_keys=True)
        dtype = next(iter(self.stepper.model.block_list())).sa.proj.weight.dtype
        text = f"{self.weights_hash}\n{settings}\n{dtype}\n{NUMERICS}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        sampling: SamplingConfig | None = None,
        aspect_ratio: float | None = None,
        pruning: Mapping[str, Any] | None = None,
        text_encoder_device: str | None = None,
    ) -> "InfinityPipeline":
        """Load a pipeline folder, or a folder with the official files.

        Args:
            folder: a path, or the name of a model that comes with the package (`scenes`).
            device: where to run.
            dtype: number type of the blocks; norms, head and residual stream stay float32.
            sampling: replaces the folder's own settings.
            aspect_ratio: height over width of the images, for models with an official schedule.
            pruning: fields of `PruningConfig` that replace the folder's own, such as
                `{"selection": "hybrid"}`.
            text_encoder_device: where the text encoder stays; `cpu` leaves a small card to the
                transformer. Features are remembered per prompt. Default: `device`.

        Raises:
            CheckpointError: a file is missing, damaged, or does not fit the configuration.
            ConfigError: config.json cannot be used.
        """
        path = Path(folder)
        shipped = PRETRAINED / str(folder)
        if not (path / "config.json").is_file() and (shipped / "config.json").is_file():
            path = shipped
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        where["text_encoder_device"] = text_encoder_device
        if (path / "config.json").is_file():
            pipeline = cls._from_folder(path, where)
        else:
            pipeline = cls._from_official(path, where)
        config = pipeline.config
        if sampling is not None:
            config = replace(config, sampling=sampling)
        if pruning:
            config = replace(config, pruning=replace(config.pruning, **pruning))
        if aspect_ratio is not None:
            schedule, rope_grid = change_aspect(config.schedule, config.rope_grid, aspect_ratio)
            config = replace(config, schedule=schedule, rope_grid=rope_grid)
        return replace(pipeline, stepper=replace(pipeline.stepper, config=config))

    @classmethod
    def _from_folder(cls, path: Path, where: dict[str, Any]) -> "InfinityPipeline":
        config = PipelineConfig.from_json(read_json(path / "config.json"))
        written = path / "checksums.json"
        sums = read_json(written) if written.is_file() else {}
        logger.info("%s needs %s", path, estimate_memory(config, where["dtype"]))
        digest = hashlib.sha256()
        states = []
        for name in ("transformer", "vae"):
            file = path / f"{name}.safetensors"
            states.append(read_weights(file))
            digest.update(bytes.fromhex(check_hash(file, sums.get(file.name))))
        encoder = TextEncoder.from_pretrained(path / "text_encoder", config.infinity.text_maxlen)
        for file in sorted((path / "text_encoder").glob("*.safetensors")):
            digest.update(bytes.fromhex(check_hash(file, sums.get(f"text_encoder/{file.name}"))))
        return assemble(config, states[0], states[1], encoder, digest.hexdigest()[:16], **where)

    @classmethod
    def _from_official(cls, path: Path, where: dict[str, Any]) -> "InfinityPipeline":
        from infinity_backend.convert import find_official, load_official

        files = find_official(path)
        if files is None:
            raise CheckpointError(
                f"{path} is neither a pipeline folder (config.json is missing) nor a folder with "
                "one official transformer, one infinity_vae*.pth and one T5 folder. Known names "
                f"are {sorted(e.name for e in PRETRAINED.glob('*') if e.is_dir())}; "
                "`prunegym convert` makes a pipeline folder of official files"
            )
        return load_official(files, **where)

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


def assemble(
    config: PipelineConfig,
    transformer: Mapping[str, torch.Tensor],
    vae: Mapping[str, torch.Tensor],
    text_encoder: TextEncoder,
    weights_hash: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    text_encoder_device: str | None = None,
) -> InfinityPipeline:
    """Put state dicts and a text encoder together; arguments as for `from_pretrained`.

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
    return InfinityPipeline(stepper, text_encoder, weights_hash)
