"""The model card: what the small model is, how it was trained, and what was measured."""

import json
from pathlib import Path
from typing import Any

from base.files import write_atomic
from scenes.gates import Report

_CARD = """---
license: apache-2.0
library_name: prunegym
pipeline_tag: text-to-image
---

# Scenes: a small Infinity

A text-to-image transformer that predicts a picture scale by scale and bit by bit, of the same
classes and file formats as the official Infinity models, small enough for a laptop without a GPU.
It draws 64x64 pictures of one to four objects on a ground, for captions such as
'{caption}'.
It is the embedded default of `prunegym`: made for teaching a policy how much of each scale to
compute, and good for nothing else. It knows the {words} words of its world; other words are read
as `<unk>`, with a warning.

| part | what | file |
|---|---|---|
{parts}

Scales of {scales} tokens a side, {bits} bits a token; sampling: guidance {cfg:g}, temperature
{tau:g}. Weights are stored in float16 and read as float32. Pruned tokens leave before block
{first_block} and add no code (`restore: {restore}`): the choice with the largest head-room of four
that were measured (`benchmarks/pruning_choice.json`).

## Training data

Scenes drawn by `scenes/render.py` on the fly, captions of the training split only. The split is a
hash of the caption with its objects in a fixed order, so training, validation and test captions
have nothing in common, in any part of the model and in the CLIP.

## Measured

On {count} test prompts, with the sampler above. Colours, shapes, fills, sizes and grounds are
judged by pixel rules against rendered templates (`scenes/rules.py`), which are right on every real
render. PSNR is the mean over pictures. 'Textured' means a ground that is not plain.

{table}

Known limits: small squares have rounded corners; small checkered shapes are the weakest.

## How it was made

`prunegym train-generator --config configs/generators/scenes.yaml` (seeded; each part goes on from
its restart file). {history}

<details><summary>All settings</summary>

```json
{settings}
```
</details>
"""


def write_model_card(
    folder: Path, report: Report, settings: dict[str, Any], words: int, count: int, history: str
) -> Path:
    """Write `MODEL_CARD.md` into a pipeline folder.

    Args:
        folder: the pipeline folder.
        report: the measured gates.
        settings: the recipe's configuration.
        words: size of the vocabulary without special tokens.
        count: test prompts that were measured.
        history: what of the training a reader should know besides the recipe; may be empty.
    """
    files = {
        "transformer": "transformer.safetensors",
        "BSQ-VAE": "vae.safetensors",
        "T5 text encoder": "text_encoder/model.safetensors",
        "CLIP of the scenes (evaluation only)": "clip/open_clip_model.safetensors",
    }
    parts = "\n".join(
        f"| {name} | {(folder / file).stat().st_size / 2e6:.2f} M parameters | `{file}` |"
        for name, file in files.items()
    )
    text = _CARD.format(
        caption="a small striped blue circle at the top left and a large plain red cross at the "
        "bottom right on a dotted green background",
        words=words,
        parts=parts,
        scales=", ".join(str(side) for side in settings["scales"]),
        bits=settings["bits"],
        cfg=settings["sampling"]["cfg"],
        tau=settings["sampling"]["tau"],
        first_block=settings["pruning"]["first_block"],
        restore=settings["pruning"]["restore"],
        count=count,
        table=report.table(),
        history=history,
        settings=json.dumps(settings, indent=1),
    )
    return write_atomic(folder / "MODEL_CARD.md", lambda target: target.write_text(text))
