"""Fit the model of lost hands to live runs, and measure how far it is off.

`python -m benchmarks.sign_tracking` (needs MediaPipe: `make setup-sign`). Live runs of training
clips fit it, live runs of validation clips judge it. Restartable: every run is a file.
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli
from scipy.optimize import minimize

from base.decisions import Decision
from base.files import write_atomic, write_json
from benchmarks.record import record
from envs.replay import replay
from eval.fidelity import fidelity
from sign_backend.generator import Row, SignGenerator, SignState
from sign_backend.live_tracking import LiveTracking
from sign_backend.mediapipe_source import MediaPipeSource
from sign_backend.pretrained import SIGNERS, load_folder
from sign_backend.request import SignRequest
from sign_backend.tracking_loss import HANDS, INPUTS, WEIGHTS, TrackingLoss, loss_inputs
from signers.clips import Split
from signers.requests import prompts, read_request

PATTERNS = ("every 2nd", "every 4th", "by lot", "by lot")
_RATIOS = {"every 2nd": 0.5, "every 4th": 0.75}


def run(
    train: int = 28,
    validation: int = 14,
    run_dir: Path = Path("runs/sign_tracking"),
    weights: Path = WEIGHTS,
) -> None:
    """Write the fitted weights and the measurement.

    Args:
        train: clips whose live runs fit the model.
        validation: clips whose live runs judge it.
        run_dir: the live runs.
        weights: of the model.
    """
    model = load_folder(SIGNERS)
    live = SignGenerator(model, LiveTracking(MediaPipeSource()), max_frames=64)
    fitted_on = _live_runs(live, "train", train, run_dir)
    inputs, found = (np.concatenate(part) for part in zip(*map(_looks, fitted_on), strict=True))
    loss = TrackingLoss(fit(inputs, found))
    judged_on = _live_runs(live, "validation", validation, run_dir)
    named = dict(zip(INPUTS, loss.weights, strict=True))
    write_json(weights, {"weights": named, "looks": len(found), "clips": train})
    cached = SignGenerator(model, loss, max_frames=64)
    figures = {
        "clips": {"train": train, "validation": validation},
        "weights": named,
        "train": _chances(loss, fitted_on),
        "validation": _chances(loss, judged_on),
        "embedding": {
            "train": _embeddings(live, cached, fitted_on),
            "validation": _embeddings(live, cached, judged_on),
        },
    }
    record("sign_tracking", figures)


def fit(inputs: np.ndarray, found: np.ndarray, ridge: float = 1.0) -> tuple[float, ...]:
    """Logistic regression; [n, 6] and [n] to six weights."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = inputs @ weights
        value = np.logaddexp(0, score).sum() - score @ found + ridge * weights @ weights / 2
        chance = 1 / (1 + np.exp(-score))
        return float(value), inputs.T @ (chance - found) + ridge * weights

    result = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B")
    return tuple(round(float(weight), 4) for weight in result.x)


def decisions_of(pattern: str, request: SignRequest, index: int, stages: int) -> list[Decision]:
    """What is decided in each window."""
    menu = SignGenerator.decision_space.menu
    if pattern != "by lot":
        return [{"prune_ratio": _RATIOS[pattern]}] * stages
    lot = np.random.default_rng((zlib.crc32(request.label.encode()), index))
    return [menu[int(lot.integers(len(menu) - (stage == 0)))] for stage in range(stages)]


def _live_runs(
    live: SignGenerator, split: Split, count: int, run_dir: Path
) -> list[tuple[str, list[Decision], Row]]:
    runs = []
    for prompt, _ in prompts(split, count):
        request = read_request(prompt)
        stages = len(live.stages(request))
        for index, pattern in enumerate(PATTERNS):
            decisions = decisions_of(pattern, request, index, stages)
            place = run_dir / f"{request.clip.content.replace(' ', '_')}_{index}.npz"
            if not place.exists():
                state, _ = replay(live, [request], [decisions])
                _save(place, state)
            with np.load(place) as file:
                kept, points = tuple(file["kept"].tolist()), file["points"]
            runs.append((pattern, decisions, Row(request, stages, stages, kept, points)))
    return runs


def _save(place: Path, state: SignState) -> None:
    row = state.rows[0]

    def write(target: Path) -> None:
        with open(target, "wb") as file:
            np.savez_compressed(file, kept=row.kept, points=row.points)

    write_atomic(place, write)


def _looks(run: tuple[str, list[Decision], Row]) -> tuple[np.ndarray, np.ndarray]:
    """[n, 6] and [n]: every look at which chance decides, and whether the hand was found."""
    row, inputs, found = run[2], [], []
    assert row.request.clip.keypoints is not None
    full = row.request.clip.keypoints.points
    for place in range(1, len(row.kept)):
        before, frame = row.kept[place - 1], row.kept[place]
        for hand, rows in enumerate(HANDS):
            there = not np.isnan(full[frame, rows.start, 0])
            each = loss_inputs(full, row.points[place - 1], before, frame, hand) if there else None
            if each is not None:
                inputs.append(each)
                found.append(not np.isnan(row.points[place, rows.start, 0]))
    return np.array(inputs).reshape(-1, len(INPUTS)), np.array(found, float)


def _chances(loss: TrackingLoss, runs: list[tuple[str, list[Decision], Row]]) -> dict[str, Any]:
    """How well the chances fit; `by_gap` compares predicted and real shares."""
    inputs, found = (np.concatenate(part) for part in zip(*map(_looks, runs), strict=True))
    chance = np.clip(loss.chance(inputs), 1e-6, 1 - 1e-6)
    base = np.full(len(found), found.mean())

    def bits(p: np.ndarray) -> float:
        return float(-(found * np.log2(p) + (1 - found) * np.log2(1 - p)).mean())

    gaps = 2 ** inputs[:, 1]
    extra = [
        not np.isnan(row.points[place, rows.start, 0])
        for _, _, row in runs
        for place, frame in enumerate(row.kept)
        for rows in HANDS
        if np.isnan(row.request.clip.keypoints.points[frame, rows.start, 0])  # type: ignore[union-attr]
    ]
    return {
        "looks": len(found),
        "found": float(found.mean()),
        "found_by_model": float(chance.mean()),
        "bits": bits(chance),
        "bits_of_constant": bits(base),
        "right_at_one_half": float(((chance > 0.5) == (found > 0.5)).mean()),
        "found_though_not_in_the_full_run": float(np.mean(extra)),
        "by_gap": {
            f"{low}-{high - 1}": {
                "looks": int(chosen.sum()),
                "found": float(found[chosen].mean()),
                "found_by_model": float(chance[chosen].mean()),
            }
            for low, high in ((1, 2), (2, 3), (3, 5), (5, 9), (9, 17), (17, 65))
            if (chosen := (gaps >= low - 1e-9) & (gaps < high - 1e-9)).any()
        },
    }


def _embeddings(
    live: SignGenerator,
    cached: SignGenerator,
    runs: list[tuple[str, list[Decision], Row]],
) -> dict[str, Any]:
    """Fidelity to the full run, by the tracker and by the model of it (mean over five seeds)."""
    table: dict[str, Any] = {}
    for pattern in dict.fromkeys(PATTERNS):
        chosen = [run for run in runs if run[0] == pattern]
        full, by_tracker, by_model = [], [], []
        for _, decisions, row in chosen:
            stages = row.num_stages
            reference = _cls(cached, row.request, [{"prune_ratio": 0.0}] * stages)
            output = live.preview(SignState((row,)))
            full.append(reference)
            by_tracker.append(float(fidelity("embedding", output, [reference])["cosine"][0]))
            values = [
                float(
                    fidelity(
                        "embedding",
                        [_cls(cached, row.request.with_seed(seed), decisions)],
                        [reference],
                    )["cosine"][0]
                )
                for seed in range(5)
            ]
            by_model.append(float(np.mean(values)))
        difference = np.array(by_model) - np.array(by_tracker)
        table[pattern] = {
            "clips": len(chosen),
            "cosine_live": float(np.mean(by_tracker)),
            "cosine_cached": float(np.mean(by_model)),
            "mean_difference": float(difference.mean()),
            "mean_absolute_difference": float(np.abs(difference).mean()),
            "correlation": float(np.corrcoef(by_model, by_tracker)[0, 1]),
        }
    return table


def _cls(generator: SignGenerator, request: SignRequest, decisions: list[Decision]) -> np.ndarray:
    state, _ = replay(generator, [request], [decisions])
    return generator.finish(state)[0]


if __name__ == "__main__":
    auto_cli(run)
