"""From what a user writes as a prompt to conditions: a caption, or a file with tensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from base.errors import DataError
from fourm_backend.modalities import Modality
from fourm_backend.samples import END, full_input
from fourm_backend.task import Task

Inputs = dict[str, dict[str, Tensor]]


def read_prompt(
    prompt: str, task: Task, modalities: Mapping[str, Modality], text_tokenizer: Any = None
) -> Inputs:
    """The conditions that a prompt stands for.

    Args:
        prompt: a `.safetensors` file with a tensor for each condition, of one row (`NAME`, and
            `NAME/mask_valid` for vectors); where the caption is the only condition, its text;
            where there is no condition, anything.
        task: says which conditions are needed.
        modalities: the model's inputs.
        text_tokenizer: of the `tokenizers` library.

    Raises:
        DataError: a file that lacks a condition or is damaged, or a text that cannot be used.
    """
    if not task.cond_domains:
        return {}
    if prompt.endswith(".safetensors"):
        return _read_file(Path(prompt), task, modalities)
    if task.cond_domains != ("caption",):
        raise DataError(
            f"prompt {prompt!r}: the conditions are {list(task.cond_domains)}; expected a "
            ".safetensors file with a tensor for each of them"
        )
    if text_tokenizer is None:
        raise DataError(
            f"prompt {prompt!r}: captions need the text tokenizer; put text_tokenizer.json into "
            "the model's folder"
        )
    return {"caption": caption(prompt, modalities["caption"], text_tokenizer)}


def caption(text: str, modality: Modality, text_tokenizer: Any) -> dict[str, Tensor]:
    """A text that is given whole.

    Raises:
        DataError: it is empty.
    """
    ids = text_tokenizer.encode(text).ids[: modality.max_length - 1]
    if not ids:
        raise DataError(f"caption {text!r} has no words")
    end = text_tokenizer.token_to_id("[EOS]")
    end = END if end is None else end
    return full_input(modality, {"tensor": torch.tensor([[*ids, end]])}, end)


def _read_file(path: Path, task: Task, modalities: Mapping[str, Modality]) -> Inputs:
    if not path.is_file():
        raise DataError(f"sample {path} does not exist")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise DataError(f"sample {path} is not a whole safetensors file: {error}") from None
    inputs = {}
    for name in task.cond_domains:
        if name not in tensors:
            raise DataError(f"sample {path} has no {name!r}; it has {sorted(tensors)}")
        modality, tensor = modalities[name], tensors[name]
        entry = {"tensor": _one_row(path, modality, tensor)}
        if f"{name}/mask_valid" in tensors:
            entry["mask_valid"] = tensors[f"{name}/mask_valid"].reshape(1, -1).bool()
        inputs[name] = full_input(modality, entry)
    return inputs


def _one_row(path: Path, modality: Modality, tensor: Tensor) -> Tensor:
    """With a leading 1, checked against grid and vocabulary."""
    if modality.kind == "image_pixels":
        assert modality.image_size is not None
        shape: tuple[int, ...] = (1, modality.channels, *modality.image_size)
    elif modality.kind == "sequence_embeddings":
        shape = (1, tensor.numel() // modality.channels, modality.channels)
    elif modality.kind == "sequence":
        shape = (1, tensor.numel())
    else:
        shape = (1, modality.num_positions)
    if tensor.numel() != torch.Size(shape).numel() or tensor.numel() == 0:
        raise DataError(
            f"sample {path}: {modality.name} is {list(tensor.shape)}; expected {list(shape)}"
        )
    if modality.vocab_size:
        low, high = int(tensor.min()), int(tensor.max())
        if low < 0 or high >= modality.vocab_size:
            raise DataError(
                f"sample {path}: {modality.name} has ids from {low} to {high}; its vocabulary has "
                f"{modality.vocab_size}"
            )
    return tensor.reshape(shape)
