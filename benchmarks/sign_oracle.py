"""How far the best decisions of each clip are from the best fixed strides, with the answer known.

`python -m benchmarks.sign_oracle`: for each clip and weight of compute the decisions of one window
after the other are tried, beginning with the best uniform stride, until none improves the return
(coordinate ascent, so a lower bound of the oracle). Cached keypoints. What a policy could reach is
less: this one sees the fidelity of what it tries. Writes `benchmarks/sign_oracle.json`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.console import Console

from benchmarks.record import record
from commands.wiring import load_generator, load_prompts, make_requests
from envs.references import ReferenceCache
from envs.replay import replay
from eval.fidelity import fidelity

MENU = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0)  # of configs/train/ppo_sign.yaml
Choice = tuple[int, ...]  # a place in the menu for each window
Found = tuple[float, float]  # cosine, share of the compute that is saved


def run(
    prompts: str = "signer:validation:30",
    weights: list[float] = [0.05, 0.1, 0.2, 0.3, 0.45, 0.6],  # noqa: B006  read only
) -> None:
    """Search, print, write the JSON.

    Args:
        prompts: the clips.
        weights: of compute.
    """
    torch.set_num_threads(1)
    generator = load_generator("sign")
    requests = make_requests(generator, load_prompts(prompts))
    best: list[list[Found]] = []
    strides: list[list[Found]] = []
    for request in requests:
        judge = _judge(generator, request)
        windows = len(generator.stages(request))
        strides.append([judge((place,) * windows) for place in range(len(MENU) - 1)])
        best.append([judge(search(judge, windows, weight)) for weight in weights])
    points = [
        {"weight": weight, "cosine": cosine, "saved": saved}
        for weight, (cosine, saved) in zip(weights, np.mean(best, axis=0).tolist(), strict=True)
    ]
    uniform = [
        {"ratio": ratio, "cosine": cosine, "saved": saved}
        for ratio, (cosine, saved) in zip(MENU, np.mean(strides, axis=0).tolist(), strict=False)
    ]
    Console().print(points, uniform)
    record("sign_oracle", {"prompts": prompts, "found": points, "strides": uniform})


def search(judge: Callable[[Choice], Found], windows: int, weight: float) -> Choice:
    """Coordinate ascent from the best uniform stride; the first window cannot be skipped."""

    def earned(choice: Choice) -> float:
        cosine, saved = judge(choice)
        return weight * saved + (1 - weight) * cosine

    best = max(((place,) * windows for place in range(len(MENU) - 1)), key=earned)
    while True:
        before = best
        for window in range(windows):
            open_places = range(len(MENU) if window else len(MENU) - 1)
            others = [(*best[:window], place, *best[window + 1 :]) for place in open_places]
            best = max(others, key=earned)
        if best == before:
            return best


def _judge(generator: Any, request: Any) -> Callable[[Choice], Found]:
    """What a choice gives, remembered."""
    stages = generator.stages(request)
    full = sum(stage.cost_flops for stage in stages)
    whole = full + generator.fixed_cost(request)
    references = ReferenceCache().get(generator, [request])
    known: dict[Choice, Found] = {}

    def judge(choice: Choice) -> Found:
        if choice not in known:
            decisions = [{"prune_ratio": MENU[place]} for place in choice]
            state, costs = replay(generator, [request], [decisions])
            cosine = fidelity("embedding", generator.finish(state), references)["cosine"][0]
            known[choice] = float(cosine), (full - sum(costs[0])) / whole
        return known[choice]

    return judge


if __name__ == "__main__":
    auto_cli(run)
