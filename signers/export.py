"""The finished PoseFormer of the drawn signers as a folder, its gate, and its model card."""

import hashlib
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from base.files import write_atomic
from scenes.gates import Gate, Report
from sign_backend.pretrained import load_folder, save_folder
from signers.clips import SPLITS
from signers.gestures import GESTURES
from signers.recipe import SignerRecipe, recognition

_GATE = 0.8  # of the test clips

_CARD = """---
license: apache-2.0
library_name: prunegym
---

# Signers: a small PoseFormer

A PoseFormer of SignON's architecture ({layers} layers, {heads} heads, width {width};
{megabytes:.1f} MB) that tells the twenty gestures of the synthetic signers apart: five shapes of
the hand times four movements. It exists so that 'how close is the embedding to that of the full
run' means something in `prunegym/SignEmbedding-v0`; it knows no sign language.

## Data
Clips of 40 to 56 frames, 320x240, drawn by `signers/drawing.py` over the photograph of Eileen
Collins (NASA, public domain) that comes with scikit-image: arms and hands that move at varying
speed, hesitate, rest (half of the signers below the picture), and are hidden in a third of the
clips. Signers of each split are drawn by separate lots (size, place, proportions, colours, habits;
ten clips a signer); the portrait is the same. Keypoints are those of MediaPipe Holistic 0.10.21,
complexity 1, on the drawn frames, shipped in `signers/data`: {clips}. The model was trained on
`generator`; `train` is what policies are trained on.

## Measured
{table}

## How it was made
`prunegym train-generator sign --config configs/generators/signers.yaml`, from the drawing of the
clips to this card. Changes to clips in training: mirror, speed, jitter, parts and frames not
found (`signers/augment.py`). {history}

<details><summary>All settings</summary>

```json
{settings}
```
</details>
"""


def export(recipe: SignerRecipe) -> Path:
    """Write the model's folder; return its path."""
    folder = Path(recipe.config.out_dir)
    save_folder(recipe.trained(), folder, GESTURES)
    return folder


def measure(recipe: SignerRecipe, history: str = "") -> Report:
    """Recognised gestures of every split, from the folder; writes `MODEL_CARD.md`."""
    config, folder = recipe.config, Path(recipe.config.out_dir)
    model, weights = load_folder(folder), folder / "model.safetensors"
    gates = [
        Gate(
            f"{split} clips, gesture recognised",
            recognition(model, split, folder=recipe.data_dir),
            _GATE if split == "test" else None,
        )
        for split in SPLITS
    ]
    report = Report(hashlib.sha256(weights.read_bytes()).hexdigest()[:16], tuple(gates))
    text = _CARD.format(
        **{name: getattr(config, name) for name in ("layers", "heads", "width")},
        megabytes=weights.stat().st_size / 1e6,
        clips=", ".join(f"{count} clips of `{split}`" for split, count in config.clips.items()),
        table=report.table(),
        history=history,
        settings=json.dumps(asdict(config), indent=1),
    )
    write_atomic(folder / "MODEL_CARD.md", partial(Path.write_text, data=text))
    return report
