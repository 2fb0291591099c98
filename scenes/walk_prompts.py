"""From a caption to the tokens of a walk through its scene: conditions for the small EgoM2P."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fourm_backend.modalities import Modality
from fourm_backend.motion import MotionTokenizer
from fourm_backend.prompts import Inputs, read_prompt
from fourm_backend.samples import full_input
from fourm_backend.task import Task
from fourm_backend.tokenizer import VQTokenizer
from scenes.walk import draw_walk
from scenes.walk_data import MODALITIES, Walks, gather
from scenes.world import parse


def load_tokenizers(folder: str | Path) -> dict[str, Any]:
    """The tokenizers that lie beside a model, by modality."""
    found: dict[str, Any] = {}
    for name in MODALITIES:
        kind = MotionTokenizer if name == "tok_cam" else VQTokenizer
        found[name] = kind.from_file(Path(folder) / f"{name}.safetensors")
    return found


@torch.no_grad()
def conditions(
    walks: Walks,
    names: Sequence[str],
    modalities: Mapping[str, Modality],
    tokenizers: Mapping[str, Any],
) -> Inputs:
    """Modalities of some walks, given whole, one row a walk."""
    return {
        name: full_input(
            modalities[name],
            {"tensor": tokenizers[name].encode(walks.values(name, slice(None)))},
        )
        for name in names
    }


def reader(
    folder: str | Path, task: Task, modalities: Mapping[str, Modality]
) -> Callable[[str], Inputs]:
    """A reader of prompts for `FourMGenerator`: captions of scenes, or files with tokens.

    Args:
        folder: the model's, with its tokenizers.
        task: says which conditions are needed.
        modalities: the model's inputs.
    """
    tokenizers = load_tokenizers(folder)

    def read(prompt: str) -> Inputs:
        if prompt.endswith(".safetensors"):
            return read_prompt(prompt, task, modalities)
        walks = gather([draw_walk(parse(prompt))])
        return conditions(walks, task.cond_domains, modalities, tokenizers)

    return read
