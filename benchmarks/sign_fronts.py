"""What `sign_skipping.py` and `sign_audit.py` measure: how close, and how many gestures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from agents.controllers import Controller
from agents.evaluation import evaluate_controller
from agents.parse_controller import parse_controller
from base.errors import ConfigError
from envs.references import ReferenceCache
from eval.front import Front
from sign_backend.generator import SignGenerator
from sign_backend.request import SignRequest
from signers.requests import gesture_of

STRIDES = {  # looked at: of a window of eight
    "every frame": "none",
    "7 of 8": "schedule:all:0.125",
    "6 of 8": "schedule:all:0.25",
    "5 of 8": "schedule:all:0.375",
    "every 2nd": "schedule:all:0.5",
    "3 of 8": "schedule:all:0.625",
    "every 4th": "schedule:all:0.75",  # what SignON's online service does
    "every 8th": "schedule:all:0.875",
}
WEIGHTS = [0.004, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 0.9]
FIGURES = ("cosine", "recognised", "probability")


def controllers_of(
    policies: Sequence[str],
    weights: Sequence[float],
    generator: SignGenerator,
    request: SignRequest,
) -> dict[str, dict[str, Controller]]:
    """By name: the strides, and every policy at every weight.

    Raises:
        ConfigError: no policies; figures of earlier ones would be overwritten by none.
    """
    if not policies:
        raise ConfigError("policies is empty; expected folders, such as runs/ppo_sign/seed0/last")
    groups = {"strides": {n: parse_controller(t, generator, request) for n, t in STRIDES.items()}}
    for policy in policies:
        groups[policy] = {
            f"w={weight:g}": parse_controller(f"policy:{policy}@{weight}", generator, request)
            for weight in weights
        }
    return groups


def measure(
    name: str,
    controllers: Mapping[str, Controller],
    generator: SignGenerator,
    requests: Sequence[Any],
    cache: ReferenceCache,
) -> Front:
    """A point for each controller, with the figures of `FIGURES`."""
    compute: list[np.ndarray] = []
    figures: dict[str, list[np.ndarray]] = {figure: [] for figure in FIGURES}
    for controller in controllers.values():
        found = evaluate_controller(generator, controller, requests, cache, preference=0.5)
        compute.append(1 - found.columns["saved"])
        figures["cosine"].append(found.columns["cosine"])
        outputs = [each.output for each in found.results]
        right, probability = gestures(generator, outputs, requests)
        figures["recognised"].append(right)
        figures["probability"].append(probability)
    columns = {figure: np.stack(values, axis=1) for figure, values in figures.items()}
    return Front(name, tuple(controllers), np.stack(compute, axis=1), columns)


def measure_often(
    name: str,
    controllers: Mapping[str, Controller],
    generator: SignGenerator,
    requests: Sequence[SignRequest],
    cache: ReferenceCache,
    lots: int,
) -> Front:
    """As `measure`, the mean over so many seeds of chance for each clip."""
    drawn = [request.with_seed(seed) for seed in range(lots) for request in requests]
    front = measure(name, controllers, generator, drawn, cache)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.reshape(lots, len(requests), -1).mean(axis=0))

    figures = {figure: mean(values) for figure, values in front.figures.items()}
    return Front(name, front.labels, mean(front.compute), figures)


def gestures(
    generator: SignGenerator, outputs: Sequence[np.ndarray], requests: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """From CLS embeddings [D]: [N] 1 where the gesture has the highest score; its probability."""
    model = generator.model
    summary = torch.from_numpy(np.stack(outputs))
    scores = model.head(model.norm(summary)).softmax(1).numpy()  # type: ignore[operator, union-attr]
    labels = np.array([gesture_of(request) for request in requests])
    probability = scores[np.arange(len(labels)), labels].astype(np.float64)
    return (scores.argmax(1) == labels).astype(np.float64), probability
