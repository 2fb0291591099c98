"""The finished small EgoM2P as a folder: half-precision weights, its task, and a model card."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from base.files import write_atomic, write_json
from fourm_backend.video_coders import DEPTH_RANGE_FILE
from scenes.export import save_half
from scenes.gates import Report
from scenes.walk import FARTHEST, NEAREST
from scenes.walk_data import MODALITIES
from scenes.walk_recipe import PARTS, WalkRecipe

TASK = {  # a chain to control: the published settings, in twice as many steps for depth
    "cond_domains": "tok_rgb",
    "target_domains": "tok_depth-tok_cam",
    "autoregression_schemes": "roar",
    "decoding_steps": "6-3",
    "token_decoding_schedules": "linear",
    "temps": 0.01,
    "temp_schedules": "constant",
    "cfg_scales": 2.0,
    "top_p": 0.8,
}

_CARD = """---
license: apache-2.0
library_name: prunegym
---

# Walks: a small EgoM2P

From 2 seconds of a walk, 16 frames of 48x48 pixels, to the depth of every pixel and the camera's
path, and from depth back to pictures: the classes, file formats and tasks of EgoM2P, small enough
for a laptop without a GPU. It is the default of `prunegym egom2p` and of
`prunegym/EgoM2PDecoding-v0`, made for teaching a policy how much of each decoding step to compute,
and good for nothing else. It knows no gaze.

| part | tokens | file |
|---|---|---|
{parts}

## Training data

Walks through the scenes of `scenes/`, drawn by `scenes/walk.py`: objects stand upright on flat,
textured ground; camera height, pitch, speed and turning are drawn by lot. Scenes of the training
split only; the split is a hash of the caption.

## Measured

On {count} walks through test scenes, with the published settings of each task (3 steps, guidance
2, temperature .01). 'The mean' predicts, for each pixel and frame, the mean over training walks.

{table}

## How it was made

`prunegym train-generator walks --config configs/generators/walks.yaml`; each part goes on from its
restart file. {history}

<details><summary>All settings</summary>

```json
{settings}
```
</details>
"""


def export(recipe: WalkRecipe) -> Path:
    """Read the newest weights of all parts and write the model's folder; return its path."""
    folder = Path(recipe.config.out_dir)
    for part in PARTS:
        recipe.load(part)
    for name in MODALITIES:
        save_half(recipe.parts[name], folder / f"{name}.safetensors")
    save_half(recipe.parts["transformer"], folder / "model.safetensors")
    write_json(folder / "config.json", recipe.config.model().to_file())
    reach = {"nearest_m": NEAREST, "farthest_m": FARTHEST}
    write_json(folder / DEPTH_RANGE_FILE, reach)
    text = yaml.safe_dump(TASK, sort_keys=False)
    write_atomic(folder / "task.yaml", partial(Path.write_text, data=text))
    return folder


def write_card(
    folder: Path, report: Report, settings: dict[str, Any], count: int, history: str
) -> None:
    """Write `MODEL_CARD.md`."""
    parts = [f"| transformer | | `model.safetensors`, {_millions(folder, 'model')} |"]
    for name in MODALITIES:
        codes = settings[name]["codes"]
        parts.append(
            f"| {name} | {codes} codes | `{name}.safetensors`, {_millions(folder, name)} |"
        )
    text = _CARD.format(
        parts="\n".join(parts),
        count=count,
        table=report.table(),
        history=history,
        settings=json.dumps(settings, indent=1),
    )
    write_atomic(folder / "MODEL_CARD.md", partial(Path.write_text, data=text))


def _millions(folder: Path, name: str) -> str:
    return f"{(folder / f'{name}.safetensors').stat().st_size / 2e6:.2f} M numbers"
