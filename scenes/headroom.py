"""How much a policy could gain: an oracle per prompt against the best mix of fixed schedules.

For every prompt all leaves of a tree of decisions on the last three scales are drawn under the same
noise. The baseline may mix fixed schedules at random, since an oracle may mix as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from base.decisions import SKIP
from infinity_backend.generator import InfinityGenerator
from infinity_backend.request import ImageRequest
from scenes.measures import psnr, squared_error
from scenes.world import Scene

Tree: TypeAlias = tuple[tuple[float, ...], ...]  # the ratios tried on each of the last scales
TREE: Tree = ((0.0, 0.4, 0.7, SKIP),) * 3  # the default menu of the environment
SMALL_TREE: Tree = ((0.0, SKIP), (0.0, 0.4, 0.7, SKIP), (0.0, 0.4, 0.7, SKIP))


@dataclass(frozen=True)
class Leaves:
    """All leaves of all prompts.

    Attributes:
        schedules: ratios on the last scales, one tuple per leaf; the first prunes nothing.
        compute: [prompts, leaves] share of the full cost, text and decoding included.
        error: [prompts, leaves] squared error against the unpruned picture.
    """

    schedules: tuple[tuple[float, ...], ...]
    compute: np.ndarray
    error: np.ndarray

    @property
    def quality_db(self) -> np.ndarray:
        """[prompts, leaves] PSNR, capped at 50 dB."""
        return psnr(self.error)


def draw_leaves(
    generator: InfinityGenerator, scenes: Sequence[Scene], seed: int = 0, tree: Tree = TREE
) -> Leaves:
    """Draw every leaf of every prompt; stages shared by leaves are computed once."""
    schedules: tuple[tuple[float, ...], ...] = ()
    compute, error = [], []
    for start in range(0, len(scenes), 8):
        requests = [ImageRequest(scene.caption, seed) for scene in scenes[start : start + 8]]
        state = generator.begin(requests)
        spent = np.array([generator.fixed_cost(request) for request in requests])
        full = spent + [sum(s.cost_flops for s in generator.stages(r)) for r in requests]
        for _ in range(generator.max_stages - len(tree)):
            decisions = [{"prune_ratio": 0.0}] * len(requests)
            spent = spent + generator.cost(state, decisions)
            state = generator.advance(state, decisions)
        taken: list[tuple[float, ...]] = [()] * len(requests)
        owner = np.arange(len(requests))
        for ratios in tree:  # every row becomes one row per ratio
            rows = np.repeat(np.arange(len(taken)), len(ratios))
            state = generator.fork(state, rows.tolist())
            decisions = [{"prune_ratio": ratios[i % len(ratios)]} for i in range(len(rows))]
            spent = spent[rows] + generator.cost(state, decisions)
            state = generator.advance(state, decisions)
            taken = [
                (*taken[row], d["prune_ratio"]) for row, d in zip(rows, decisions, strict=True)
            ]
            owner = owner[rows]
        pictures = generator.finish(state).reshape(len(requests), -1, 64, 64, 3)
        for index in range(len(requests)):
            own = pictures[index]
            error.append(squared_error(own, np.repeat(own[:1], len(own), 0)))
        compute.append((spent / full[owner]).reshape(len(requests), -1))
        schedules = tuple(taken[: pictures.shape[1]])
    return Leaves(schedules, np.concatenate(compute), np.stack(error))


def frontier(compute: np.ndarray, quality: np.ndarray, budget: float) -> float:
    """Best mean quality of a random mix of points at a mean compute of `budget` (upper hull)."""
    best = -np.inf
    for c, q in zip(compute, quality, strict=True):
        if c <= budget:
            best = max(best, float(q))
    for i in range(len(compute)):
        for j in range(len(compute)):
            if compute[i] <= budget < compute[j]:
                share = (budget - compute[i]) / (compute[j] - compute[i])
                best = max(best, float(quality[i] + share * (quality[j] - quality[i])))
    return best


def oracle_points(compute: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean compute and quality of the best leaf of each prompt, for many prices of compute."""
    prices = np.concatenate([[0.0], np.geomspace(0.3, 3000.0, 200)])  # dB per unit of compute
    rows = np.arange(len(compute))
    points = []
    for price in prices:
        leaf = (quality - price * compute).argmax(1)
        points.append((compute[rows, leaf].mean(), quality[rows, leaf].mean()))
    found = np.array(points)
    return found[:, 0], found[:, 1]


def oracle_gain(leaves: Leaves, budget: float = 0.45) -> dict[str, float]:
    """Quality in dB at `budget` of the full compute: best mix of fixed schedules, and oracle."""
    quality = leaves.quality_db
    mix = frontier(leaves.compute.mean(0), quality.mean(0), budget)
    oracle = frontier(*oracle_points(leaves.compute, quality), budget)
    return {"mix_db": mix, "oracle_db": oracle, "gain_db": oracle - mix}
