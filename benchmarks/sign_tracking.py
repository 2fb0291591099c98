"""How far the models of the tracker are off, against live runs; fits the one of lost hands.

`python -m benchmarks.sign_tracking`, on the live runs that come with the package.
Live runs of training clips fit the chances of `sign_backend/tracking_loss.py`. Those of validation
clips judge them, and `sign_backend/recorded_tracking.py` with each run left out in turn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from scipy.optimize import minimize

from base.files import write_json
from benchmarks.record import record
from eval.fidelity import fidelity
from sign_backend.checkpoint import SignModel
from sign_backend.clip import NUM_KEYPOINTS, Keypoints
from sign_backend.embed import embed, prepare
from sign_backend.pretrained import SIGNERS, load_folder
from sign_backend.recorded_tracking import LiveRun, RecordedClip, RecordedTracking
from sign_backend.tracking_loss import (
    HANDS,
    INPUTS,
    WEIGHTS,
    TrackingLoss,
    loss_inputs,
    losses_in_a_row,
)
from signers.clips import Split
from signers.drawing import HEIGHT, WIDTH
from signers.live_runs import WINDOW
from signers.packed_runs import unpack
from signers.requests import num_recordings, read_request


def run(weights: Path = WEIGHTS) -> None:
    """Write the fitted weights and the measurement.

    Args:
        weights: of the model of lost hands.
    """
    torch.set_num_threads(1)
    inputs, found = _looks("train")
    loss = TrackingLoss(fit(inputs, found))
    named = dict(zip(INPUTS, loss.weights, strict=True))
    write_json(weights, {"weights": named, "looks": len(found)})
    record(
        "sign_tracking",
        {
            "weights": named,
            "train": _chances(loss, inputs, found),
            "validation": _chances(loss, *_looks("validation")),
            "embedding": _embeddings(loss, "validation"),
        },
    )


def fit(inputs: np.ndarray, found: np.ndarray, ridge: float = 1.0) -> tuple[float, ...]:
    """Logistic regression; [n, 6] and [n] to six weights."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = inputs @ weights
        value = np.logaddexp(0, score).sum() - score @ found + ridge * weights @ weights / 2
        chance = 1 / (1 + np.exp(-score))
        return float(value), inputs.T @ (chance - found) + ridge * weights

    result = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B")
    return tuple(round(float(weight), 4) for weight in result.x)


def _looks(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """[n, 6] and [n]: every look at which chance decides, and whether the hand was found."""
    inputs, found = [], []
    for clip in range(num_recordings(split)):
        full = _full(split, clip)
        for live in unpack(split, clip):
            for hand, rows in enumerate(HANDS):
                there = ~np.isnan(full[live.frames, rows.start, 0])
                got = ~np.isnan(live.points[:, rows.start, 0])
                for place, frame in enumerate(live.frames.tolist()):
                    left_out = frame - live.frames[0] != place
                    if there[place] and left_out:
                        before = live.frames[:place].tolist()
                        losses = losses_in_a_row(full, before, live.points[:place], hand)
                        inputs.append(loss_inputs(full, losses, before[-1], frame, hand))
                        found.append(got[place])
    return np.array(inputs), np.array(found, float)


def _chances(loss: TrackingLoss, inputs: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """How well the chances fit."""
    chance = np.clip(loss.chance(inputs), 1e-6, 1 - 1e-6)

    def bits(p: np.ndarray) -> float:
        return float(-(found * np.log2(p) + (1 - found) * np.log2(1 - p)).mean())

    return {
        "looks": len(found),
        "found": float(found.mean()),
        "found_by_model": float(chance.mean()),
        "bits": bits(chance),
        "bits_of_constant": bits(np.full(len(found), found.mean())),
    }


def _embeddings(loss: TrackingLoss, split: Split) -> dict[str, Any]:
    """Fidelity to the full run by the tracker and by its models, by how much runs look."""
    model, rows = load_folder(SIGNERS), []
    for clip in range(num_recordings(split)):
        runs, full = unpack(split, clip), _full(split, clip)
        for number, live in enumerate(runs):
            if len(live.frames) == len(full):
                continue  # nothing was left out: all find the same
            others = RecordedClip(full, [*runs[:number], *runs[number + 1 :]])
            replay = RecordedTracking(lambda _, others=others: others, "")
            request, nothing = (
                read_request(f"signer {split} {clip}"),
                np.zeros((0, *full.shape[1:])),
            )
            frames = live.frames.tolist()
            points = [way.look(request, (), nothing, frames) for way in (loss, replay)]
            cosines = _cosines(model, full, frames, [live.points, *points])
            rows.append((_pattern(live, len(full)), 1 - len(frames) / len(full), *cosines))
    table = {}
    for pattern in sorted({row[0] for row in rows}):
        values = np.array([row[1:] for row in rows if row[0] == pattern])
        table[pattern] = {
            "runs": len(values),
            "skipped": float(values[:, 0].mean()),
            "cosine_live": float(values[:, 1].mean()),
            **{
                f"{figure}_{name}": float(value)
                for column, name in ((2, "cached"), (3, "recorded"))
                for figure, value in (
                    ("cosine", values[:, column].mean()),
                    ("mean_absolute_difference", np.abs(values[:, column] - values[:, 1]).mean()),
                    ("correlation", np.corrcoef(values[:, column], values[:, 1])[0, 1]),
                )
            },
        }
    return table


def _pattern(live: LiveRun, length: int) -> str:
    """How many frames of each window are looked at; or that it differs, and how much is skipped."""
    whole = live.frames[live.frames < length - length % WINDOW]
    counts = np.bincount(whole // WINDOW, minlength=length // WINDOW)
    if len(set(counts.tolist())) == 1:
        return f"{counts[0]} of {WINDOW}"
    skipped = 1 - len(live.frames) / length
    return f"mixed, {'under' if skipped < 0.5 else 'over'} half skipped"


def _cosines(
    model: SignModel, full: np.ndarray, frames: Sequence[int], found: Sequence[np.ndarray]
) -> list[float]:
    """Of the CLS embedding to that of the full run, for each way of finding points in frames."""
    inputs = [full]
    for points in found:
        inputs.append(np.full((len(full), NUM_KEYPOINTS, 3), np.nan))
        inputs[-1][frames] = points
    prepared = [prepare(Keypoints(points, HEIGHT, WIDTH), model.config) for points in inputs]
    reference, *outputs = embed(model, prepared, "CLS")
    values = fidelity("embedding", outputs, [reference] * len(outputs))["cosine"]
    return [float(value) for value in values]


def _full(split: Split, clip: int) -> np.ndarray:
    keypoints = read_request(f"signer {split} {clip}").clip.keypoints
    assert keypoints is not None
    return keypoints.points


if __name__ == "__main__":
    auto_cli(run)
