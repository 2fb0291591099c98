"""Small folders of images on disk, in the form that `prunegym generate` writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

STAGES = ("1x1", "2x2", "4x4", "6x6", "8x8", "12x12", "16x16")
SCHEDULES = {
    "none": (0,) * 7,
    "schedule": (0, 0, 0, 0, 0.4, 0.5, 1.0),
    "policy": (0, 0, 0, 0, 0, 0.7, 1.0),
}


def picture(index: int, side: int = 48) -> np.ndarray:
    """A picture with more detail the larger the index: uint8 [side, side, 3]."""
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.stack([np.sin((1 + index % 9) * k * (x + 0.3 * k * y)) for k in (3, 5, 8)], axis=-1)
    return np.round(127.5 + 120 * waves).astype(np.uint8)


def write_folder(
    path: Path,
    controller: str = "none",
    count: int = 6,
    spread: float = 0.0,
    fingerprint: str | None = "f00d",
    first_seed: int = 100,
) -> Path:
    """Write `count` pictures with noise of this spread, their metadata and their provenance."""
    path.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(int(spread * 10))
    metadata: dict[str, Any] = {}
    for index in range(count):
        amount = spread * (1 + index % 9) / 5
        noise = random.normal(0, amount, (48, 48, 3)) if spread else 0
        pixels = np.clip(picture(index) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path / f"img_{index:03d}.png")
        ratios = SCHEDULES[controller]
        saved = sum(ratios) / 8 * (1 - 0.05 * (index % 3) * (controller == "policy"))
        metadata[f"img_{index:03d}"] = {
            "prompt": f"a picture with {index + 1} waves",
            "seed": first_seed + index,
            "category": "smooth" if index % 9 < 4 else "detailed",
            "controller": controller,
            "decisions": [
                {"stage": stage, "prune_ratio": ratio, "guidance": True}
                for stage, ratio in zip(STAGES, ratios, strict=True)
            ],
            "cost_flops": 1e9 * (1 - saved),
            "full_cost_flops": 1e9,
            "latency_ms": 100 * (1 - saved) + index % 4,
        }
    (path / "meta_data.json").write_text(json.dumps(metadata))
    if fingerprint is not None:
        provenance = {"format": 1, "fingerprint": fingerprint, "controller": controller}
        (path / "provenance.json").write_text(json.dumps(provenance))
    return path


def write_three(path: Path, count: int = 6) -> list[str]:
    """Write Original, FAST and RL, and return the options that name them."""
    original = write_folder(path / "original", "none", count)
    fast = write_folder(path / "fast", "schedule", count, spread=12)
    agent = write_folder(path / "rl", "policy", count, spread=8)
    return ["--orig", str(original), "--fast", str(fast), "--rl", str(agent)]
