"""The finished small 4M as a folder: half-precision weights, its task, and a model card."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file, save_file

from base.files import write_atomic, write_json
from scenes.export import save_half
from scenes.gates import Report
from scenes.picture_recipe import TOKENIZERS, PictureRecipe

_CARD = """---
license: apache-2.0
library_name: prunegym
---

# Scenes: a small 4M

From a caption to outlines to a picture, by masked decoding in steps; also from pictures to
outlines and to a segmentation. It has the classes and file formats of the official 4M models, and
is small enough for a laptop without a GPU. It draws 64x64 pictures of one to four objects on a
ground, for captions such as '{caption}'.
It is the default of `prunegym/FourMDecoding-v0`, made for teaching a policy how much of each
decoding step to compute, and good for nothing else. It knows the words of its world; other words
are `[UNK]`.

| part | tokens | file |
|---|---|---|
{parts}

The chain in `task.yaml`: {chain}. Weights are stored in float16 and read as float32.

## Training data

Scenes drawn by `scenes/render.py`, with exact outlines and segmentation from the same drawing
program (`scenes/maps.py`); captions of the training split only. The split is a hash of the caption
with its objects in a fixed order, so training, validation and test captions have nothing in common.

## Measured

On {count} test prompts, with the chain above. Colours, shapes, fills, sizes and grounds are judged
by pixel rules against rendered templates (`scenes/rules.py`), which are right on every real render.
F1 of outlines allows one pixel of distance. The CLIP is that of the small Infinity
(`infinity_backend/pretrained/scenes/clip`), which never saw a test caption.

{table}

## How it was made

`prunegym train-generator fourm --config configs/generators/scenes_fourm.yaml` (seeded; each part
goes on from its restart file). {history}

<details><summary>All settings</summary>

```json
{settings}
```
</details>
"""


def export(recipe: PictureRecipe) -> Path:
    """Read the newest weights of all parts and write the model's folder; return its path."""
    folder = Path(recipe.config.out_dir)
    recipe.load_all()
    for part, name in TOKENIZERS.items():
        save_half(recipe.tokenizers[part], folder / f"{name}.safetensors")
    save_half(recipe.transformer, folder / "model.safetensors")
    _drop_unused(folder / "model.safetensors")
    write_json(folder / "config.json", recipe.config.model().to_file())
    write_atomic(folder / "text_tokenizer.json", recipe.save_text_tokenizer)
    text = yaml.safe_dump(recipe.config.task, sort_keys=False)
    write_atomic(folder / "task.yaml", partial(Path.write_text, data=text))
    return folder


def _drop_unused(path: Path) -> None:
    """Leave out token tables of the decoder, which is asked by mask tokens only.

    They are restored as another name of the head's weights, which is as good.
    """
    tensors = load_file(path)
    kept = {
        name: value
        for name, value in tensors.items()
        if not (name.startswith("decoder_embeddings.") and name.endswith("token_emb.weight"))
    }
    write_atomic(path, partial(save_file, kept))


def write_card(
    folder: Path, report: Report, settings: dict[str, Any], count: int, history: str
) -> None:
    """Write `MODEL_CARD.md`."""
    parts = [f"| transformer | | `model.safetensors`, {_millions(folder, 'model')} |"]
    for part, name in TOKENIZERS.items():
        sizes = settings[part]
        tokens = f"{sizes['cells']}x{sizes['cells']}, {sizes['codes']} codes"
        file = f"`{name}.safetensors`, {_millions(folder, name)}"
        parts.append(f"| tokenizer of `{name}` | {tokens} | {file} |")
    task = settings["task"]
    text = _CARD.format(
        caption="a small striped blue circle at the top left and a large plain red cross at the "
        "bottom right on a dotted green background",
        parts="\n".join(parts),
        chain=", ".join(f"{key} `{value}`" for key, value in task.items()),
        count=count,
        table=report.table(),
        history=history,
        settings=json.dumps(settings, indent=1),
    )
    write_atomic(folder / "MODEL_CARD.md", partial(Path.write_text, data=text))


def _millions(folder: Path, name: str) -> str:
    return f"{(folder / f'{name}.safetensors').stat().st_size / 2e6:.2f} M numbers"
