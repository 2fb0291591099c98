"""Learned policies against fixed strides, on signers never seen.

`python -m benchmarks.sign_skipping '[benchmarks/sign_policies/seed0, ...]'`: the trainings of
`configs/train/ppo_sign.yaml` with several seeds, all test clips on the cached backend. Then again
with `--live N`: the tracker itself on the first N, after `python -m benchmarks.sign_audit`.
Writes `benchmarks/sign_skipping.json` and `docs/images/sign_skipping.png`. Settings are chosen with
`--prompts signer:validation:60 --name sign_skipping_validation`.

Figures: cosine of the CLS embedding to the run that looked at every frame, the share of clips whose
gesture is recognised, and the probability that the model gives to the right one. The rival at equal
cost is the best random mix of fixed strides, chosen by the cosine on training clips; what is said
of the policies is the mean over trainings, with 95 % intervals that draw signers (ten clips each)
and trainings anew (`eval.front_summary`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from matplotlib.figure import Figure

from base.files import read_json, write_atomic
from benchmarks.record import FOLDER, record
from benchmarks.sign_audit import read_front
from benchmarks.sign_fronts import WEIGHTS, controllers_of, measure, measure_often
from commands.wiring import load_generator, load_prompts, make_requests
from envs.references import ReferenceCache
from eval.front import Front, at_budgets, best_mix, interval, oracle, resample_weights
from eval.front_summary import over_trainings, summarise_front
from signers.clips import CLIPS_PER_SIGNER

BUDGETS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8)


def run(
    policies: list[str],
    weights: list[float] = WEIGHTS,
    prompts: str = "signer:test:200",
    training_prompts: str = "signer:train:300",
    live: int = 0,
    lots: int = 4,
    resamples: int = 1000,
    name: str = "sign_skipping",
) -> None:
    """Measure and draw.

    Args:
        policies: run folders, one a training seed.
        weights: of compute, at which they are asked.
        prompts: the clips.
        training_prompts: those that the mix of strides is chosen on.
        live: with the tracker itself, on the first so many clips, as `benchmarks.sign_audit` has
            measured them; added to the figures of the cached backend.
        lots: cached keypoints are drawn so many times for each clip, and figures averaged.
        resamples: of signers and trainings, for intervals.
        name: of the JSON and of the picture.
    """
    torch.set_num_threads(1)
    generator: Any = load_generator("sign:recorded" if live else "sign")
    requests = make_requests(generator, load_prompts(prompts))
    requests = requests[:live] if live else requests
    training = make_requests(generator, load_prompts(training_prompts))
    groups = controllers_of(policies, weights, generator, requests[0])
    references = ReferenceCache(batch_size=16)
    chosen_on = measure("strides", groups["strides"], generator, training, references)
    fixed, *fronts = [
        read_front(name, group, generator, requests)
        if live
        else measure_often(name, group, generator, requests, references, lots)
        for name, group in groups.items()
    ]
    mix, bound = best_mix(chosen_on, fixed), oracle(fixed)
    drawn = resample_weights(len(requests), resamples, 0, cluster=CLIPS_PER_SIGNER)
    part = {
        "policy_folders": policies,
        "clips": len(requests),
        "lots": 1 if live else lots,
        "prompts": prompts,
        "mix_of": list(mix.labels),
        "strides": summarise_front([fixed], mix, bound, BUDGETS, drawn),
        "policies": summarise_front(fronts, mix, bound, BUDGETS, drawn),
        "policies_at_the_cost_of": against_strides(fronts, fixed, drawn),
    }
    figures: dict[str, Any] = {}
    if live:  # beside what was measured on the cached backend
        figures = read_json(FOLDER / f"{name}.json")["figures"]
    figures |= {"live" if live else "cached": {"weights": weights, **part}}
    record(name, figures)
    draw(figures, FOLDER.parent / "docs" / "images" / f"{name}.png")


def against_strides(
    policies: Sequence[Front], strides: Front, lots: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Each stride, and how far above it the policies are at its cost; `lots` [R, N] resamples."""
    found: dict[str, dict[str, Any]] = {}
    for place, stride in enumerate(strides.labels):
        cost = float(strides.compute[:, place].mean())
        found[stride] = {"compute": cost}
        for figure, values in strides.figures.items():
            above = partial(_above, figure=figure, cost=cost, stride=values[:, place])
            difference, many = over_trainings(policies, above, lots)
            found[stride] |= {
                figure: float(values[:, place].mean()),
                f"{figure}_policies_minus": float(difference) if np.isfinite(difference) else None,
                f"{figure}_policies_minus_ci95": interval(many),
            }
    return found


def _above(
    front: Front, weights: np.ndarray | None, figure: str, cost: float, stride: np.ndarray
) -> np.ndarray:
    """[] or [R]: a front at this mean cost minus a stride whose figures are [N]."""
    mean = stride.mean() if weights is None else weights @ stride
    return np.asarray(at_budgets(front, figure, [cost], weights)[..., 0] - mean)


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Both figures against compute saved, a row for each backend, a line for each training."""
    parts = [part for part in ("cached", "live") if part in figures]
    canvas = Figure(figsize=(9, 3.6 * len(parts)), dpi=110, layout="constrained")
    names = {"cosine": "cosine of CLS to the full run", "recognised": "gestures recognised"}
    for row, part in zip(canvas.subplots(len(parts), 2, squeeze=False), parts, strict=True):
        measured = figures[part]
        kind = "the tracker runs" if part == "live" else "cached keypoints"
        for axes, (figure, label) in zip(row, names.items(), strict=True):
            _line(axes, measured["strides"]["points"], figure, "o--", "fixed strides", color="0.5")
            for number in range(measured["policies"]["trainings"]):
                points = [p for p in measured["policies"]["points"] if p["training"] == number]
                _line(axes, points, figure, ".-", f"PPO, seed {number}")
            axes.set_xlabel("compute saved, %")
            axes.set_ylabel(label)
            axes.set_title(f"{measured['clips']} clips of unseen signers, {kind}", fontsize=9)
            axes.grid(alpha=0.25)
    canvas.axes[0].legend(fontsize=8)
    write_atomic(path, lambda target: canvas.savefig(target, format="png"))


def _line(
    axes: Any, points: Sequence[Mapping[str, Any]], figure: str, marks: str, name: str, **style: Any
) -> None:
    ordered = sorted(points, key=lambda point: point["compute"])
    saved = [100 * (1 - point["compute"]) for point in ordered]
    axes.plot(saved, [point[figure] for point in ordered], marks, label=name, **style)


if __name__ == "__main__":
    auto_cli(run)
