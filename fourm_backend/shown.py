"""What a person sees of a modality: a picture or a text.

Shapes: h x w cells, H x W pixels.
"""

import re
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from fourm_backend.datasets import IMAGENET_DEVIATION, IMAGENET_MEAN
from fourm_backend.detokenize import Detokenizers, coloured
from fourm_backend.modalities import TEXT_LIKE, Modality
from fourm_backend.state import Entry

_BOX = re.compile(r"v0=(\d+) v1=(\d+) v2=(\d+) v3=(\d+) ((?:(?!v\d=)\S+ ?)+)")
_COLOUR = re.compile(r"v0=(\d+) v0=(\d+) v0=(\d+)")
_SIDE = 224  # pixels of drawings that have no size of their own


def printable(name: str) -> str:
    """A modality's name for people: `tok_canny_edge@224` is `canny edge @224`."""
    key, _, size = name.partition("@")
    words = key.removeprefix("tok_").replace("_", " ")
    return f"{words} @{size}" if size else words


def text_of(entry: Entry, row: int, tokenizer: Any) -> str:
    """The words of one row of a text-like modality."""
    shown = entry["tensor"][row][~entry["input_mask"][row]].tolist()
    text = tokenizer.decode(shown, skip_special_tokens=False)
    return text.removesuffix("[EOS]").strip()


def show(
    modality: Modality, entry: Entry, row: int, text_tokenizer: Any, detokenizers: Detokenizers
) -> np.ndarray | str:
    """A picture [H, W, 3] uint8, or a text, of one row of a modality."""
    if modality.type in TEXT_LIKE:
        text = text_of(entry, row, text_tokenizer)
        if modality.name == "det" and _BOX.search(text):
            return boxes(text)
        if modality.name == "color_palette" and _COLOUR.search(text):
            return bars(text)
        return text
    if modality.kind == "image_pixels":
        return pixels(entry["tensor"][row])
    if modality.type == "seq_emb":
        return _plain_text(entry, row)
    tokens = entry["tensor"][row].reshape(modality.grid).cpu().numpy()
    picture = detokenizers.picture(modality, tokens)
    # without a tokenizer: which cells are alike can be seen, what they are cannot
    return token_map(tokens) if picture is None else picture


def _plain_text(entry: Entry, row: int) -> str:
    """What T5 vectors were made of, where the sample says so."""
    if "ascii_tensor" not in entry:
        return "(text vectors)"
    return "".join(chr(code) for code in entry["ascii_tensor"][row].tolist() if code)


def pixels(values: torch.Tensor) -> np.ndarray:
    """[H, W, 3] uint8 of standardised pixels [3, H, W]."""
    mean, deviation = (
        torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    shares = (values.float().cpu() * deviation + mean).clamp(0.0, 1.0)
    return (shares * 255).round().to(torch.uint8).movedim(0, -1).numpy()


def token_map(tokens: np.ndarray) -> np.ndarray:
    """[h, w, 3]: a colour for each token id; frames of a video lie above one another."""
    flat = tokens.reshape(-1, tokens.shape[-1])
    return coloured((flat * 40503 % 65536) / 65536)  # neighbours among ids get different colours


def boxes(text: str) -> np.ndarray:
    """Boxes with their names, as `boxes_text` writes them."""
    canvas = Image.new("RGB", (_SIDE, _SIDE), "white")
    pencil = ImageDraw.Draw(canvas)
    for match in _BOX.finditer(text):
        left, top, right, bottom = (int(value) / 999 * (_SIDE - 1) for value in match.groups()[:4])
        ordered = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        pencil.rectangle(ordered, outline="red")
        pencil.text((ordered[0] + 2, ordered[1] + 1), match[5].strip(), fill="black")
    return np.asarray(canvas)


def bars(text: str) -> np.ndarray:
    """The colours of a palette, side by side."""
    colours = [[min(int(v), 255) for v in match.groups()] for match in _COLOUR.finditer(text)]
    widths = np.array_split(np.arange(_SIDE), len(colours))
    row = np.concatenate([np.tile(c, (len(w), 1)) for c, w in zip(colours, widths, strict=True)])
    return np.broadcast_to(row.astype(np.uint8), (_SIDE, _SIDE, 3))
