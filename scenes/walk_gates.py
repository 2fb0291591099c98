"""The gates of the small EgoM2P, measured on walks through scenes that it never saw.

Depth is judged by the mean absolute error of its logarithm (.1 is about 10 %) and by the mean
relative error; 'the mean' predicts, for each pixel and frame, the mean over training walks.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.files import write_json
from fourm_backend.checkpoints import load_float32
from fourm_backend.egom2p import TASKS
from fourm_backend.egom2p_metrics import log_error, psnr_db, relative_error, trajectory_error
from fourm_backend.generate import empty_targets, generate
from fourm_backend.model import FourM
from fourm_backend.motion import camera_output
from fourm_backend.sampling import SiteNoise
from fourm_backend.video import cut_frames, depth_metres, pictures
from scenes.gates import Gate, Report
from scenes.walk import FARTHEST, NEAREST, draw_walk, walks
from scenes.walk_data import Walks, gather
from scenes.walk_prompts import conditions, load_tokenizers
from scenes.world import Split

log = logging.getLogger(__name__)
_ROWS = 16  # walks that are generated together


def measure(folder: str | Path, out_dir: str | Path, count: int = 128) -> Report:
    """Measure every gate of a model's folder; write `gates.json`.

    Args:
        folder: with the model and its tokenizers.
        out_dir: where the report goes.
        count: test walks.
    """
    folder = Path(folder)
    model = load_float32(folder)
    tokenizers = load_tokenizers(folder)
    truth, training = draw("test", count), draw("train", 512)
    gates: list[Gate] = []

    def add(name: str, value: float, bound: float | None = None, at_most: bool = False) -> None:
        gates.append(Gate(name, value, bound, at_most))
        log.info("%s: %.4g", name, value)

    depth = truth.depth_m.astype(np.float32)
    mean = np.exp(np.log(training.depth_m.astype(np.float32)).mean(0, keepdims=True))
    mean = np.broadcast_to(mean, depth.shape)
    made = make(model, tokenizers, "rgb2depth", truth)
    made_m = depth_metres(cut_frames(made), NEAREST, FARTHEST)
    error, base = log_error(made_m, depth), log_error(mean, depth)
    add("rgb to depth, error of log depth", error)
    add("the mean as depth, error of log depth", base)
    add("rgb to depth, error as a share of the mean's", error / base, 0.5, True)
    add("rgb to depth, relative error", relative_error(made_m, depth))
    add("the mean as depth, relative error", relative_error(mean, depth))
    rebuilt_m = depth_metres(cut_frames(rebuild(tokenizers, "tok_depth", truth)), NEAREST, FARTHEST)
    add("depth through its tokenizer, error of log depth", log_error(rebuilt_m, depth))
    frames = pictures(cut_frames(rebuild(tokenizers, "tok_rgb", truth)))
    add("rgb through its tokenizer, PSNR in dB", mean_psnr_db(frames, truth.frames))
    places = relative_places(truth.poses)
    paths = camera_output(make(model, tokenizers, "rgb2cam", truth))[..., 6:].numpy()
    add("rgb to camera, ATE in metres", path_error(paths, places))
    middle = np.broadcast_to(relative_places(training.poses).mean(0), places.shape)
    add("the mean path, ATE in metres", path_error(middle, places))
    paths = camera_output(rebuild(tokenizers, "tok_cam", truth))[..., 6:].numpy()
    add("path through its tokenizer, ATE in metres", path_error(paths, places))
    report = Report("", tuple(gates))
    figures = {gate.name: gate.value for gate in gates}
    write_json(Path(out_dir) / "gates.json", {"passed": report.passed, "gates": figures})
    return report


def draw(split: Split, count: int) -> Walks:
    """Walks of a split, always the same."""
    return gather([draw_walk(scene) for scene in walks(split, count)])


@torch.no_grad()
def make(model: FourM, tokenizers: Mapping[str, Any], name: str, given: Walks) -> Tensor:
    """What a published task makes of walks, through the target's tokenizer."""
    task = TASKS[name]
    (target,) = task.target_domains
    schedule = task.schedule(model.config.outputs)
    inputs = conditions(given, task.cond_domains, model.config.inputs, tokenizers)
    parts = []
    for start in range(0, len(given), _ROWS):
        some = {
            modality: {key: value[start : start + _ROWS] for key, value in entry.items()}
            for modality, entry in inputs.items()
        }
        sample = empty_targets(model, some, schedule)
        noise = SiteNoise(range(start, min(start + _ROWS, len(given))))
        made = generate(model, sample, schedule, task.top_k, task.top_p, noise=noise)
        parts.append(tokenizers[target].decode(made[target]["tensor"]))
    return torch.cat(parts)


@torch.no_grad()
def rebuild(tokenizers: Mapping[str, Any], name: str, given: Walks) -> Tensor:
    """Walks to tokens and back."""
    tokenizer = tokenizers[name]
    return tokenizer.decode(tokenizer.encode(given.values(name, slice(None))))


def mean_psnr_db(made: np.ndarray, truth: np.ndarray) -> float:
    """Mean over walks."""
    return float(np.mean([psnr_db(*pair) for pair in zip(made, truth, strict=True)]))


def relative_places(poses: np.ndarray) -> np.ndarray:
    """[W, T, 3] places of the camera, seen from its first pose."""
    return (np.linalg.inv(poses[:, :1]) @ poses)[..., :3, 3]


def path_error(made: np.ndarray, truth: np.ndarray) -> float:
    """Mean ATE."""
    return float(np.mean([trajectory_error(*pair) for pair in zip(made, truth, strict=True)]))
