"""A learned policy against fixed strides, on signers never seen.

`python -m benchmarks.sign_skipping '[runs/ppo_sign_0, ...]'` after `prunegym train
--config configs/train/ppo_sign.yaml` with several seeds: all test clips on the cached backend. Then
again with `--live N`: the tracker itself on the first N (needs MediaPipe: `make setup-sign`).
Writes `benchmarks/sign_skipping.json` and `docs/images/sign_skipping.png`.

Figures: cosine of the CLS embedding to the run that looked at every frame, and the share of clips
whose gesture is recognised. The rival at equal cost is the best random mix of fixed strides: the
upper convex hull of their points, which is never below a stride.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli

from agents.controllers import Controller
from agents.evaluation import evaluate_controller
from agents.parse_controller import parse_controller
from base.files import read_json
from benchmarks.record import FOLDER, record
from commands.wiring import load_generator, load_prompts, make_requests
from envs.references import ReferenceCache
from sign_backend.generator import SignGenerator
from signers.requests import gesture_of

STRIDES = {  # looked at: of a window of eight
    "every frame": "none",
    "6 of 8": "schedule:all:0.25",
    "every 2nd": "schedule:all:0.5",
    "3 of 8": "schedule:all:0.625",
    "every 4th": "schedule:all:0.75",  # what SignON's online service does
    "every 8th": "schedule:all:0.875",
}
Columns = dict[str, np.ndarray]  # [N] each: saved, cosine, recognised


def run(
    policies: list[str],
    weights: list[float] = [0.1, 0.2, 0.3, 0.45, 0.6],  # noqa: B006  read only
    prompts: str = "signer:test:100",
    live: int = 0,
    seeds: int = 2,
    resamples: int = 1000,
) -> None:
    """Measure and draw.

    Args:
        policies: run folders, one a training seed.
        weights: of compute, at which they are asked.
        prompts: the clips.
        live: measure with the tracker itself, on the first so many clips, and add that to the
            figures of the cached backend.
        seeds: of lost hands on the cached backend.
        resamples: of clips, for intervals.
    """
    torch.set_num_threads(1)
    cached = load_generator("sign")
    requests = make_requests(cached, load_prompts(prompts))
    figures: dict[str, Any]
    if live:  # to what was measured on the cached backend
        figures = read_json(FOLDER / "sign_skipping.json")["figures"]
        figures["live_weights"] = weights
        generator, requests, seeds = load_generator("sign:live"), requests[:live], 1
    else:
        figures = {"prompts": prompts, "policies": policies, "weights": weights}
        generator = cached
    controllers = {
        policy: {w: parse_controller(f"policy:{policy}@{w}", cached, requests[0]) for w in weights}
        for policy in policies
    }
    part = _measure(generator, requests, controllers, seeds, resamples)
    _write(figures | {"live" if live else "cached": part})


def _write(figures: dict[str, Any]) -> None:
    record("sign_skipping", figures)
    _draw(figures, Path(__file__).parents[1] / "docs" / "images" / "sign_skipping.png")


def _measure(
    generator: Any,
    requests: Sequence[Any],
    controllers: dict[str, dict[float, Controller]],
    seeds: int,
    resamples: int,
) -> dict[str, Any]:
    """The figures of fixed strides, and of each policy at each weight."""
    cache = ReferenceCache()
    rows = [request.with_seed(seed) for seed in range(seeds) for request in requests]

    def columns(controller: Controller) -> Columns:
        result = evaluate_controller(generator, controller, rows, cache, preference=0.5)
        outputs = [each.output for each in result.results]
        right = recognised(generator, outputs, rows)
        both = {"saved": result.columns["saved"], "cosine": result.columns["cosine"]}
        # the mean over seeds: what is resampled are clips
        return {
            name: column.reshape(seeds, -1).mean(0)
            for name, column in {**both, "recognised": right}.items()
        }

    strides = {n: columns(parse_controller(t, generator, rows[0])) for n, t in STRIDES.items()}
    found: dict[str, Any] = {
        "clips": len(requests),
        "strides": {name: _means(each) for name, each in strides.items()},
        "policies": {},
    }
    for policy, by_weight in controllers.items():
        found["policies"][policy] = []
        for weight, controller in by_weight.items():
            point = columns(controller)
            entry = {"weight": weight, **_means(point), **_against(strides, point, resamples)}
            found["policies"][policy].append(entry)
    return found


def recognised(
    generator: SignGenerator, outputs: Sequence[np.ndarray], requests: Sequence[Any]
) -> np.ndarray:
    """[N] 1 where the gesture has the highest score, from CLS embeddings [D]."""
    model = generator.model
    summary = torch.from_numpy(np.stack(outputs))
    scores = model.head(model.norm(summary)).numpy()  # type: ignore[operator, union-attr]
    labels = np.array([gesture_of(request) for request in requests])
    return (scores.argmax(1) == labels).astype(np.float64)


def best_mix(costs: np.ndarray, values: np.ndarray, at: float) -> float:
    """The upper convex hull of points (saved, value), at a share that is saved."""
    best = -np.inf
    for low in range(len(costs)):
        for high in range(len(costs)):
            if costs[low] <= at <= costs[high]:
                span = costs[high] - costs[low]
                share = (at - costs[low]) / span if span > 0 else 0.0
                best = max(best, (1 - share) * values[low] + share * values[high])
    return float(best)


def _against(strides: dict[str, Columns], point: Columns, resamples: int) -> dict[str, Any]:
    """The policy minus the best mix of strides at its cost, with 95 % intervals over clips."""
    clips = len(point["saved"])
    lot = np.random.default_rng(0)
    samples = [np.arange(clips), *(lot.integers(clips, size=clips) for _ in range(resamples))]
    answer: dict[str, Any] = {}
    for name in ("cosine", "recognised"):
        differences = []
        for chosen in samples:
            costs = np.array([each["saved"][chosen].mean() for each in strides.values()])
            values = np.array([each[name][chosen].mean() for each in strides.values()])
            at = point["saved"][chosen].mean()
            differences.append(point[name][chosen].mean() - best_mix(costs, values, at))
        finite = np.array([each for each in differences if np.isfinite(each)])
        inside = bool(np.isfinite(differences[0]))
        answer[f"{name}_above_mix"] = float(differences[0]) if inside else None
        interval = [float(v) for v in np.quantile(finite, (0.025, 0.975))] if inside else None
        answer[f"{name}_above_mix_95"] = interval
    return answer


def _means(columns: Columns) -> dict[str, float]:
    return {name: float(column.mean()) for name, column in columns.items()}


def _draw(figures: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parts = [part for part in ("cached", "live") if part in figures]
    figure, axes = pyplot.subplots(
        len(parts), 2, figsize=(9, 3.6 * len(parts)), squeeze=False, constrained_layout=True
    )
    names = {"cosine": "cosine of CLS to the full run", "recognised": "gestures recognised"}
    for row, part in zip(axes, parts, strict=True):
        measured = figures[part]
        for axis, (name, label) in zip(row, names.items(), strict=True):
            strides = sorted(measured["strides"].values(), key=lambda each: each["saved"])
            axis.plot(
                [100 * s["saved"] for s in strides],
                [s[name] for s in strides],
                "o--",
                color="0.5",
                label="fixed strides",
            )
            for index, points in enumerate(measured["policies"].values()):
                ordered = sorted(points, key=lambda each: each["saved"])
                axis.plot(
                    [100 * p["saved"] for p in ordered],
                    [p[name] for p in ordered],
                    ".-",
                    label=f"PPO, seed {index}",
                )
            axis.set_xlabel("compute saved, %")
            axis.set_ylabel(label)
            kind = "the tracker runs" if part == "live" else "cached keypoints"
            axis.set_title(f"{measured['clips']} clips of unseen signers, {kind}", fontsize=9)
    axes[0, 0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    auto_cli(run)
