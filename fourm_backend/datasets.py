"""Conditions from data sets: prompts in a table, or folders of files that are aligned by name.

The folder format is `ROOT/MODALITY/FOLDER/NAME.EXT`, with the same folders and names under each
modality. Texts are `.txt`, `.json` or `.json.gz`; tokens `.npy` [crops, L]; pictures any image
file; text vectors `.npz` with `emb` and `mask_valid`; boxes `.json`.
"""

import csv
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from base.errors import ConfigError, DataError
from fourm_backend.modalities import Modality
from fourm_backend.prompts import Inputs, caption
from fourm_backend.samples import full_input

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LOWEST_SCORE = 0.6  # of a box that counts


@dataclass(frozen=True)
class Item:
    """One sample: its number in the whole data set, what a person reads, and how to read it."""

    index: int
    label: str
    read: Callable[[], Inputs]


def open_dataset(
    path: str | None,
    conditions: Sequence[str],
    modalities: Mapping[str, Modality],
    text_tokenizer: Any,
    num_samples: int | None = None,
    t5_vectors: str | None = None,
) -> list[Item]:
    """List a data set; files are read when their turn comes.

    Args:
        path: a `.tsv` of prompts with a column `Prompt`, a folder, or None without conditions.
        conditions: what is needed of each sample.
        modalities: the model's inputs.
        text_tokenizer: for texts.
        num_samples: so many of them, chosen at random but always the same; None takes all.
        t5_vectors: an `.npz` with `emb` [n, T, E] and `mask_valid` [n, T] for the n prompts of a
            table, where `t5_caption` is a condition.

    Raises:
        ConfigError: settings that do not fit together.
        DataError: files that are missing or not aligned.
    """
    if not conditions:
        if num_samples is None:
            raise ConfigError("num_samples is needed where nothing is given (no cond_domains)")
        return [Item(index, f"sample {index}", dict) for index in range(num_samples)]
    unknown = [name for name in conditions if name not in modalities]
    if unknown:
        raise ConfigError(f"cond_domains has {unknown}; this model takes {sorted(modalities)}")
    if path in (None, "parti_prompts"):
        raise ConfigError(
            f"data_path is {path!r}; expected a .tsv file of prompts, such as PartiPrompts.tsv, or "
            "a folder"
        )
    assert path is not None
    if Path(path).suffix == ".tsv":
        items = _table(Path(path), conditions, modalities, text_tokenizer, t5_vectors)
    else:
        items = _folder(Path(path), conditions, modalities, text_tokenizer)
    if num_samples is not None and num_samples < len(items):
        order = np.random.RandomState(0).permutation(len(items))[:num_samples]
        items = [items[place] for place in order]
    return items


def _table(
    path: Path,
    conditions: Sequence[str],
    modalities: Mapping[str, Modality],
    tokenizer: Any,
    t5_vectors: str | None,
) -> list[Item]:
    if not set(conditions) <= {"caption", "t5_caption"}:
        raise ConfigError(
            f"a table of prompts has caption and t5_caption only; cond_domains is {conditions}"
        )
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise DataError(f"prompts {path} cannot be read: {error}") from None
    if not rows or "Prompt" not in rows[0]:
        raise DataError(f"prompts {path}: expected a header with a column 'Prompt', and rows")
    vectors: dict[str, np.ndarray] = {}
    if "t5_caption" in conditions:
        vectors = _vectors_of_table(t5_vectors, len(rows))

    def read(index: int) -> Inputs:
        text, inputs = rows[index]["Prompt"], {}
        for name in conditions:
            if name == "caption":
                inputs[name] = _text(text, modalities[name], tokenizer)
            else:
                each = {key: value[index] for key, value in vectors.items()}
                inputs[name] = _vectors(each, modalities[name])
                codes = torch.tensor([[ord(letter) for letter in text]])
                inputs[name] = {**inputs[name], "ascii_tensor": codes}
        return inputs

    return [Item(index, row["Prompt"], partial(read, index)) for index, row in enumerate(rows)]


def _vectors_of_table(path: str | None, count: int) -> dict[str, np.ndarray]:
    """Text vectors of all prompts, checked against their number."""
    if path is None:
        raise ConfigError(
            "parti_prompts_t5_embs is missing: t5_caption needs an .npz with emb and mask_valid"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            vectors = {name: arrays[name] for name in ("emb", "mask_valid")}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"parti_prompts_t5_embs {path} cannot be read: {error}") from None
    if any(len(value) != count for value in vectors.values()):
        raise DataError(
            f"parti_prompts_t5_embs {path} is of {len(vectors['emb'])} prompts; the table has "
            f"{count}"
        )
    return vectors


def _folder(
    root: Path, conditions: Sequence[str], modalities: Mapping[str, Modality], tokenizer: Any
) -> list[Item]:
    files = {name: _files(root / folder_of(modalities[name])) for name in conditions}
    every = [set(found) for found in files.values()]
    common = sorted(set.intersection(*every))
    for name, found in files.items():
        lacking = sorted(set.union(*every) - set(found))
        if lacking:
            raise DataError(
                f"{root}: {len(lacking)} samples have no {name} (first: {lacking[0]}); the folders "
                "of all conditions need the same names"
            )
    if not common:
        raise DataError(f"{root}: no sample for {list(conditions)} was found")
    items = []
    for index, key in enumerate(common):
        paths = {name: files[name][key] for name in conditions}
        items.append(Item(index, key, partial(_read, paths, modalities, tokenizer)))
    return items


def folder_of(modality: Modality) -> str:
    """The folder of a modality: pixels lie in `rgb` whatever their size."""
    return "rgb" if modality.kind == "image_pixels" else modality.name


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; the data set needs it for this condition")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.name.partition(".")[0]
            found[str(path.parent.relative_to(folder) / name)] = path
    return found


def _read(paths: Mapping[str, Path], modalities: Mapping[str, Modality], tokenizer: Any) -> Inputs:
    inputs = {}
    for name, path in paths.items():
        try:
            inputs[name] = read_condition(path, modalities[name], tokenizer)
        except (OSError, ValueError, KeyError, TypeError, UnidentifiedImageError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} cannot be read as {name}: {error}") from error
    return inputs


def read_condition(path: Path, modality: Modality, tokenizer: Any) -> dict[str, Tensor]:
    """One file as a condition."""
    if modality.kind == "image_pixels":
        with Image.open(path) as image:
            return full_input(modality, {"tensor": pixels(image, modality)})
    if modality.kind == "sequence":
        text = boxes_text(_json(path)) if modality.name == "det" else _text_of(path)
        return _text(text, modality, tokenizer)
    if modality.kind == "sequence_embeddings":
        with np.load(path, allow_pickle=False) as arrays:
            return _vectors(arrays, modality)
    ids = np.load(path, allow_pickle=False)
    ids = ids if ids.size == modality.num_positions else ids[0]  # the first crop
    if ids.size != modality.num_positions or ids.min() < 0 or ids.max() >= modality.vocab_size:
        raise DataError(
            f"{path}: {ids.size} ids from {ids.min()} to {ids.max()}; {modality.name} has "
            f"{modality.num_positions} below {modality.vocab_size}"
        )
    return full_input(modality, {"tensor": torch.from_numpy(ids.reshape(1, -1).astype(np.int64))})


def _vectors(arrays: Mapping[str, np.ndarray], modality: Modality) -> dict[str, Tensor]:
    vectors = torch.from_numpy(arrays["emb"].reshape(-1, modality.channels)).float()
    vectors = vectors[: modality.max_length]
    used = torch.from_numpy(arrays["mask_valid"].reshape(-1).astype(bool))[: len(vectors)]
    return full_input(modality, {"tensor": vectors[None], "mask_valid": used[None]})


def pixels(image: Image.Image, modality: Modality) -> Tensor:
    """[1, 3, height, width]: the largest square in the middle, resized and standardised."""
    assert modality.image_size is not None
    image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    resized = square.resize((modality.image_size[1], modality.image_size[0]))
    values = torch.from_numpy(np.array(resized)).float().permute(2, 0, 1)[None] / 255
    mean, deviation = (
        torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    return (values - mean) / deviation


def boxes_text(content: Mapping[str, Any]) -> str:
    """Boxes as text: from the top left corner outwards, coordinates in 1000 steps."""
    instances = [box for box in content["instances"] if box["score"] >= _LOWEST_SCORE]
    instances.sort(key=lambda box: box["boxes"][0] ** 2 + box["boxes"][1] ** 2)
    words = []
    for box in instances:
        words += [f"v{axis}={round(value * 999)}" for axis, value in enumerate(box["boxes"])]
        words.append(box["class_name"])
    return " ".join(words)


def _text(text: str, modality: Modality, tokenizer: Any) -> dict[str, Tensor]:
    if tokenizer is None:
        raise ConfigError("text_tok_path is missing: texts need the text tokenizer")
    return caption(text, modality, tokenizer)


def _text_of(path: Path) -> str:
    if path.suffix == ".txt":
        return path.read_text(encoding="utf-8").strip()
    content = _json(path)
    content = content[0] if isinstance(content, list) else content  # the first crop
    return content["caption"] if isinstance(content, dict) else str(content)


def _json(path: Path) -> Any:
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
