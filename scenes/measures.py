"""What a finished model is measured by, on test prompts: fidelity, rules, words, CLIP, detail."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.decisions import SKIP
from base.torchvision_stub import import_torchvision
from infinity_backend.generator import InfinityGenerator
from infinity_backend.request import ImageRequest
from infinity_backend.self_correction import training_pair
from infinity_backend.vae import to_uint8
from scenes.rules import Verdict, judge
from scenes.train_clip import retrieval_top1
from scenes.train_transformer import bit_losses, tokens_in
from scenes.train_vae import batch_of
from scenes.world import Scene

RENDER_SEED = 1  # of the real renders that reconstructions are compared with


def squared_error(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean squared error of each pair of uint8 pictures [B, H, W, 3], pixels taken as 0 to 1."""
    difference = (one.astype(np.float32) - other.astype(np.float32)) / 255.0
    return np.square(difference).mean((1, 2, 3))


def psnr(squared: np.ndarray, cap: float = 50.0) -> np.ndarray:
    """Mean squared errors to dB, capped."""
    return np.minimum(cap, -10.0 * np.log10(np.maximum(squared, 1e-12)))


def share_right(verdicts: Sequence[Verdict], field: str) -> float:
    """Share of objects for which a rule of `Verdict` holds."""
    return float(np.mean([right for v in verdicts for right in getattr(v, field)]))


def generate(
    generator: InfinityGenerator, scenes: Sequence[Scene], seed: int = 0, skip_last: bool = False
) -> np.ndarray:
    """Draw one picture per scene with nothing pruned, or without the last scale: uint8."""
    pictures = []
    for start in range(0, len(scenes), 16):
        requests = [ImageRequest(scene.caption, seed) for scene in scenes[start : start + 16]]
        state = generator.begin(requests)
        for stage in range(generator.max_stages):
            skipped = skip_last and stage == generator.max_stages - 1
            decision = {"prune_ratio": SKIP if skipped else 0.0}
            state = generator.advance(state, [decision] * len(requests))
        pictures.append(generator.finish(state))
    return np.concatenate(pictures)


@torch.no_grad()
def reconstruction(generator: InfinityGenerator, scenes: Sequence[Scene]) -> dict[str, float]:
    """Fidelity of decoded true codes: mean PSNR of pictures, and shapes that the rule accepts."""
    vae, schedule = generator.stepper.vae, list(generator.stepper.config.schedule)
    images, masks = batch_of(scenes, [RENDER_SEED] * len(scenes))
    pictures = torch.cat([vae.decode(vae.encode(x, schedule)[1].codes) for x in images.split(64)])
    seen, real = to_uint8(pictures).numpy(), to_uint8(images).numpy()
    whole = psnr(squared_error(seen, real))
    textured = np.array([scene.ground != "plain" for scene in scenes])
    error = np.square((seen.astype(np.float32) - real) / 255.0).mean(-1)  # [B, 64, 64]
    inside = masks[:, 0].numpy()
    inside_db = psnr((error * inside).sum((1, 2)) / inside.sum((1, 2)))
    verdicts = [judge(picture, scene) for picture, scene in zip(seen, scenes, strict=True)]
    return {
        "psnr_db": float(whole.mean()),
        "textured_db": float(whole[textured].mean()),
        "plain_db": float(whole[~textured].mean()),
        "inside_objects_db": float(inside_db.mean()),
        "shapes": share_right(verdicts, "shapes"),
    }


@torch.no_grad()
def place_words(generator: InfinityGenerator, scenes: Sequence[Scene]) -> list[float]:
    """Rise of the teacher-forced loss (nats per bit, by scale) when place words are permuted."""
    stepper = generator.stepper
    schedule = list(stepper.config.schedule)
    scenes = [scene for scene in scenes if len(scene.things) > 1]
    images, _ = batch_of(scenes, [RENDER_SEED] * len(scenes))
    pair = training_pair(stepper.vae.features(images), schedule)

    def losses(captions: list[str]) -> Tensor:
        text = generator.pipeline.text_encoder(captions)
        logits = stepper.model(text, tokens_in(pair.inputs), schedule, stepper.config.rope_grid)
        return torch.stack([loss.mean() for loss in bit_losses(logits, pair.targets)])

    rise = losses([permuted(scene).caption for scene in scenes])
    rise -= losses([scene.caption for scene in scenes])
    return rise.tolist()


def permuted(scene: Scene) -> Scene:
    """The scene with the place words of its objects passed on to the next object."""
    places = [thing.place for thing in scene.things]
    moved = zip(scene.things, places[1:] + places[:1], strict=True)
    return replace(scene, things=tuple(replace(thing, place=place) for thing, place in moved))


def load_clip(folder: Path) -> tuple[Any, Any]:
    """The scenes CLIP and its tokenizer, through open_clip's own loader."""
    import_torchvision()
    import open_clip

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.eval(), open_clip.get_tokenizer(f"local-dir:{folder}")


def clip_top1(folder: Path, scenes: Sequence[Scene], pictures: np.ndarray) -> float:
    """Share of pictures whose own caption scores highest; in groups of 128 captions."""
    model, tokenize = load_clip(folder)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    ids = tokenize([scene.caption for scene in scenes])
    groups = [slice(start, start + 128) for start in range(0, len(scenes) - 127, 128)]
    return float(np.mean([retrieval_top1(model, images[g], ids[g]) for g in groups]))


def milliseconds_per_image(generator: InfinityGenerator, scenes: Sequence[Scene]) -> float:
    """Wall time of full guided generation in batches of 16 on 2 threads, the fastest of three."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        generate(generator, scenes[:16], seed=7)
        times.append((time.perf_counter() - began) / 16 * 1000.0)
    torch.set_num_threads(threads)
    return min(times)
