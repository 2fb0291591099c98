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
) -> list[Item]:
    """List a data set; files are read when their turn comes.

    Args:
        path: a `.tsv` of prompts with a column `Prompt`, a folder, or None without conditions.
        conditions: what is needed of each sample.
        modalities: the model's inputs.
        text_tokenizer: for texts.
        num_samples: so many of them, chosen at random but always the same; None takes all.

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
        items = _table(Path(path), conditions, modalities, text_tokenizer)
    else:
        items = _folder(Path(path), conditions, modalities, text_tokenizer)
    if num_samples is not None and num_samples < len(items):
        order = np.random.RandomState(0).permutation(len(items))[:num_samples]
        items = [items[place] for place in order]
    return items


def _table(
    path: Path, conditions: Sequence[str], modalities: Mapping[str, Modality], tokenizer: Any
) -> list[Item]:
    if list(conditions) != ["caption"]:
        raise ConfigError(f"a table of prompts has captions only; cond_domains is {conditions}")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise DataError(f"prompts {path} cannot be read: {error}") from None
    if not rows or "Prompt" not in rows[0]:
        raise DataError(f"prompts {path}: expected a header with a column 'Prompt', and rows")
    return [
        Item(index, row["Prompt"], partial(_caption, row["Prompt"], modalities, tokenizer))
        for index, row in enumerate(rows)
    ]


def _caption(text: str, modalities: Mapping[str, Modality], tokenizer: Any) -> Inputs:
    return {"caption": _text(text, modalities["caption"], tokenizer)}


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
            vectors, valid = arrays["emb"], arrays["mask_valid"]
        vectors = torch.from_numpy(vectors.reshape(-1, modality.channels)).float()
        vectors = vectors[: modality.max_length]
        used = torch.from_numpy(valid.reshape(-1).astype(bool))[: len(vectors)]
        return full_input(modality, {"tensor": vectors[None], "mask_valid": used[None]})
    ids = np.load(path, allow_pickle=False)
    ids = ids if ids.size == modality.num_positions else ids[0]  # the first crop
    if ids.size != modality.num_positions or ids.min() < 0 or ids.max() >= modality.vocab_size:
        raise DataError(
            f"{path}: {ids.size} ids from {ids.min()} to {ids.max()}; {modality.name} has "
            f"{modality.num_positions} below {modality.vocab_size}"
        )
    return full_input(modality, {"tensor": torch.from_numpy(ids.reshape(1, -1).astype(np.int64))})


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
