"""Infinity at full size with random weights, since no checkpoint is at hand."""

from dataclasses import replace

import torch

from infinity_backend.architecture import InfinityConfig, VAEConfig
from infinity_backend.config import PipelineConfig, PruningConfig, SamplingConfig
from infinity_backend.generate import Stepper
from infinity_backend.schedule import official_schedule
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

SIZES = {
    "125m": InfinityConfig(depth=12, embed_dim=768, num_heads=8, bits=16, block_chunks=4),
    "2b": InfinityConfig(depth=32, embed_dim=2048, num_heads=16, bits=32),
}


def full_config(size: str, resolution: str, small_decoder: bool = False) -> PipelineConfig:
    """The configuration of an official size on the square schedule of a resolution.

    Blocks and cache stage of pruning are those of the model, as far as it and its schedule go.

    Args:
        size: a key of `SIZES`.
        resolution: such as `0.06M`.
        small_decoder: a VAE of a quarter of the width, where decoding is not measured.
    """
    model, (schedule, rope_grid) = SIZES[size], official_schedule(1.0, resolution)
    vae = VAEConfig(model.bits)
    if small_decoder:
        vae = VAEConfig(model.bits, base_ch=32, ch_mult=(1, 1, 1, 1, 1))
    height, width = schedule[min(8, len(schedule) - 3)]
    pruning = PruningConfig(3, min(27, model.depth - 3), cache_tokens=height * width)
    sampling = SamplingConfig(top_k=1)
    return PipelineConfig(size, model, vae, schedule, rope_grid, sampling, pruning)


def random_model(config: PipelineConfig, dtype: torch.dtype, device: str = "cpu") -> Stepper:
    """Transformer and VAE with random weights; blocks in `dtype`, all else in float32."""
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # 2B weights in float32 would not fit beside another model
    transformer = Infinity(config.infinity)
    torch.set_default_dtype(default)
    blocks = transformer.block_list()
    narrow = {id(p) for b in blocks for part in (b.sa, b.ca, b.ffn) for p in part.parameters()}
    for parameter in transformer.parameters():
        if id(parameter) not in narrow:
            parameter.data = parameter.data.float()
    vae = VAE(config.vae)
    return Stepper(
        transformer.to(device).eval().requires_grad_(False),
        vae.to(device).eval().requires_grad_(False),
        config,
    )


def with_pruning(stepper: Stepper, **changes: object) -> Stepper:
    """The same weights under other settings of pruning."""
    config = stepper.config
    pruning = replace(config.pruning, **changes)  # type: ignore[arg-type]
    return replace(stepper, config=replace(config, pruning=pruning))
