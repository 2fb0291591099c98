"""The finished model as a pipeline folder: half-precision weights, read back as float32."""

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from base.files import write_atomic, write_json
from scenes.recipe import Recipe
from scenes.train_clip import save_clip


def export(recipe: Recipe) -> Path:
    """Read the newest weights of all parts and write the pipeline folder; return its path."""
    recipe.load_all()
    folder = Path(recipe.config.out_dir)
    _save_half(recipe.transformer, folder / "transformer.safetensors")
    _save_half(recipe.vae, folder / "vae.safetensors")
    recipe.text_encoder.half().save_pretrained(folder / "text_encoder")
    recipe.text_encoder.float()
    recipe.tokenizer.save_pretrained(folder / "text_encoder")
    save_clip(recipe.clip, recipe.clip_config, recipe.tokenizer, folder / "clip")
    write_json(folder / "config.json", recipe.config.pipeline().to_json())
    return folder


def _save_half(module: nn.Module, path: Path) -> None:
    tensors = {
        name: (value.to(torch.float16) if value.is_floating_point() else value)
        .contiguous()  # not channels-last
        .clone()
        for name, value in module.state_dict().items()
    }
    write_atomic(path, partial(save_file, tensors))
