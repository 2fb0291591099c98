"""The gates of the small 4M, measured on captions that it never saw.

Outlines of a generated picture are those of the shapes whose renders come nearest to it
(`scenes/rules.py`), so that outlines and picture are compared although neither is known.

Shapes: n scenes, S = SIDE pixels.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base.errors import ConfigError
from base.files import write_json
from fourm_backend.chain import Chain
from fourm_backend.generate import Made
from fourm_backend.pictured import PictureGenerator
from fourm_backend.pipeline import load_generator
from fourm_backend.samples import full_input
from fourm_backend.task import Task
from fourm_backend.tokenizer import VQTokenizer
from scenes.gates import Gate, Report
from scenes.maps import CLASSES, edge_f1, outline_of
from scenes.measures import RENDER_SEED, clip_top1, psnr, share_right, squared_error
from scenes.picture_data import CLASS_MAP, EDGES, RGB, Pictures, draw_pictures
from scenes.render import SIDE, place_slices
from scenes.rules import Verdict, fit_thing, judge
from scenes.sheet import contact_sheet
from scenes.world import Scene, prompts

log = logging.getLogger(__name__)
_ROWS = 32  # generated together


def measure(folder: str | Path, clip: str | Path, sheet: str | Path, count: int = 256) -> Report:
    """Measure every gate of a model's folder; write `gates.json` into it, and the contact sheet.

    Args:
        folder: with the model and its tokenizers.
        clip: folder of the scenes CLIP.
        sheet: file of the contact sheet.
        count: test prompts; a multiple of 128.
    """
    generator = load_generator(folder)
    if not isinstance(generator, PictureGenerator):
        raise ConfigError(f"{folder} holds no tokenizers of its targets; export it first")
    scenes = prompts("test", count)
    truth = draw_pictures(scenes, [RENDER_SEED] * count)
    gates: list[Gate] = []

    def add(name: str, value: float, bound: float | None = None, at_most: bool = False) -> None:
        gates.append(Gate(name, value, bound, at_most))
        log.info("%s: %.4g", name, value)

    for name, value in reconstruction(generator.tokenizers[RGB], truth).items():
        add(f"through the tokenizer of pictures, {name}", value)
    rebuilt = rebuild(generator.tokenizers[EDGES], truth, EDGES)[:, 0] > 0
    add("through the tokenizer of outlines, F1", float(edge_f1(rebuilt, truth.edges).mean()))
    outputs = generate(generator, scenes)
    drawn = generator.pictures(outputs)
    for name, value in shares(verdicts_of(drawn, scenes)).items():
        add(f"generated, {name}", value)
    real_top1 = clip_top1(Path(clip), scenes, truth.images)
    add("scenes CLIP, top-1 of 128 captions, real renders", real_top1)
    add(
        "scenes CLIP, generated as a share of real",
        clip_top1(Path(clip), scenes, drawn) / real_top1,
        0.7,
    )
    edges = generator.values_of_target(EDGES, outputs)[:, 0].cpu().numpy() > 0
    seen = np.stack([seen_outlines(p, s) for p, s in zip(drawn, scenes, strict=True)])
    add(
        "generated outlines against those of the picture made from them, F1",
        mean_f1(edges, seen),
        0.6,
    )
    add(
        "the same against the picture of the next caption, F1",
        mean_f1(edges, np.roll(seen, 1, axis=0)),
    )
    other = VQTokenizer.from_file(Path(folder) / f"{CLASS_MAP}.safetensors")  # not in the chain
    tokenizers = {**generator.tokenizers, CLASS_MAP: other}
    read = from_pictures(generator, tokenizers, truth, EDGES)[:, 0] > 0
    add(
        "outlines made from real pictures against the exact ones, F1",
        mean_f1(read, truth.edges),
        0.6,
    )
    classes = from_pictures(generator, tokenizers, truth, CLASS_MAP).argmax(1)
    for name, value in class_figures(classes, truth.classes).items():
        add(f"segmentation made from real pictures, {name}", value)
    report = Report(generator.fingerprint, tuple(gates))
    values = {
        "fingerprint": report.fingerprint,
        "passed": report.passed,
        "gates": [{**asdict(gate), "passed": gate.passed} for gate in gates],
    }
    write_json(Path(folder) / "gates.json", values)
    rows = [generator.pictures_of_target(EDGES, outputs)[:48], drawn[:48], truth.images[:48]]
    captions = [scene.caption for scene in scenes[:48]]
    title = "top: generated outlines, middle: generated from them, below: real"
    contact_sheet(rows, captions, Path(sheet), title)
    return report


def generate(
    generator: PictureGenerator, scenes: Sequence[Scene], seed: int = 0
) -> list[np.ndarray]:
    """Tokens of each scene with nothing saved."""
    outputs: list[np.ndarray] = []
    full = generator.decision_space.complete({})
    for start in range(0, len(scenes), _ROWS):
        requests = [
            generator.request(scene.caption, seed) for scene in scenes[start : start + _ROWS]
        ]
        state = generator.begin(requests)
        while not state.done.all():
            state = generator.advance(state, [full] * len(requests))
        outputs += generator.finish(state)
    return outputs


def verdicts_of(pictures: np.ndarray, scenes: Sequence[Scene]) -> list[Verdict]:
    """What the rules find in pictures uint8 [n, S, S, 3]."""
    return [judge(picture, scene) for picture, scene in zip(pictures, scenes, strict=True)]


def shares(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Shares of objects, and of grounds, that are right."""
    found = {
        "object colour right at its place": share_right(verdicts, "colours"),
        "object shape right": share_right(verdicts, "shapes"),
        "object fill right": share_right(verdicts, "fills"),
        "object size right": share_right(verdicts, "sizes"),
    }
    return found | {"ground right": float(np.mean([v.ground for v in verdicts]))}


@torch.no_grad()
def rebuild(tokenizer: VQTokenizer, truth: Pictures, name: str) -> np.ndarray:
    """What a tokenizer keeps of a modality: [n, C, S, S]."""
    values = truth.values(name, slice(None)).split(64)
    return torch.cat([tokenizer.decode(tokenizer.encode(part)) for part in values]).numpy()


def reconstruction(tokenizer: VQTokenizer, truth: Pictures) -> dict[str, float]:
    """Fidelity of pictures to tokens and back."""
    rebuilt = rebuild(tokenizer, truth, RGB)
    seen = np.rint((rebuilt.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    error = np.square((seen.astype(np.float32) - truth.images) / 255.0).mean(-1)
    inside = truth.masks.astype(np.float32)
    found = {
        "PSNR in dB": float(psnr(squared_error(seen, truth.images)).mean()),
        "PSNR in dB inside objects": float(
            psnr((error * inside).sum((1, 2)) / inside.sum((1, 2))).mean()
        ),
    }
    return found | shares(verdicts_of(seen, truth.scenes))


def seen_outlines(picture: np.ndarray, scene: Scene) -> np.ndarray:
    """Outlines [S, S] bool of the shapes that come nearest to a picture."""
    drawn = np.zeros((SIDE, SIDE), bool)
    for thing in scene.things:
        _, mask = fit_thing(picture, scene, thing)
        drawn[place_slices(thing.place)] = outline_of(mask >= 0.5)
    return drawn


def mean_f1(made: np.ndarray, true: np.ndarray) -> float:
    """Mean over pictures; see `scenes.maps.edge_f1`."""
    return float(edge_f1(made, true).mean())


@torch.no_grad()
def from_pictures(
    generator: PictureGenerator,
    tokenizers: Mapping[str, VQTokenizer],
    truth: Pictures,
    target: str,
) -> np.ndarray:
    """What the model makes of real pictures: [n, C, S, S] of the target's tokenizer."""
    task = replace(generator.task, **_from_rgb(generator.task, target))
    chain = Chain(generator.model, task)
    parts = []
    for start in range(0, len(truth), _ROWS):
        ids = tokenizers[RGB].encode(truth.values(RGB, slice(start, start + _ROWS)))
        given: Made = {RGB: full_input(generator.model.config.inputs[RGB], {"tensor": ids})}
        made = chain.run(given, range(start, start + len(ids)))
        parts.append(tokenizers[target].decode(made[target]["tensor"].flatten(1)))
    return torch.cat(parts).numpy()


def _from_rgb(task: Task, target: str) -> dict[str, Any]:
    """The settings of the chain's first target, for another one made of pictures."""
    lists = {name: values[:1] for name, values in asdict(task).items() if isinstance(values, tuple)}
    return {**lists, "cond_domains": (RGB,), "target_domains": (target,), "cfg_scales": (1.0,)}


def class_figures(made: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Share of right pixels, and the mean over classes of intersection over union."""
    overlaps = [
        ((made == k) & (true == k)).sum() / max(((made == k) | (true == k)).sum(), 1)
        for k in range(len(CLASSES))
    ]
    return {"pixels right": float((made == true).mean()), "mean IoU": float(np.mean(overlaps))}
