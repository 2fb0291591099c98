"""The finished model as a pipeline folder: half-precision weights, read back as float32."""

import shutil
import tempfile
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
    save_half(recipe.transformer, folder / "transformer.safetensors")
    save_half(recipe.vae, folder / "vae.safetensors")
    with tempfile.TemporaryDirectory() as temporary:  # transformers writes its files as it likes
        recipe.text_encoder.half().save_pretrained(temporary)
        recipe.text_encoder.float()
        recipe.tokenizer.save_pretrained(temporary)
        for file in sorted(Path(temporary).iterdir()):
            write_atomic(folder / "text_encoder" / file.name, partial(shutil.copyfile, file))
    save_clip(recipe.clip, recipe.clip_config, recipe.tokenizer, folder / "clip")
    write_json(folder / "config.json", recipe.config.pipeline().to_json())
    return folder


def save_half(module: nn.Module, path: Path) -> None:
    """Write a module's weights as float16 safetensors; whole numbers stay whole."""
    tensors = {
        name: (value.to(torch.float16) if value.is_floating_point() else value)
        .contiguous()  # not channels-last
        .clone()
        for name, value in module.state_dict().items()
    }
    write_atomic(path, partial(save_file, tensors))
