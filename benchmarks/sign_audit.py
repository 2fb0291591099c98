"""Policies and fixed strides with the tracker itself; part of `benchmarks/sign_skipping.py`.

    python -m benchmarks.sign_audit '[benchmarks/sign_policies/seed0, ...]' --part 0 --parts 2

needs MediaPipe (`make setup-sign`). Hours: each clip is a file with the figures of every
controller, so it can be stopped, and several processes can share the clips (each takes one part of
them). Then `python -m benchmarks.sign_skipping ... --live 200` reads them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from numpy.typing import NDArray
from rich.console import Console

from agents.controllers import Controller
from base.errors import DataError
from base.files import read_json, write_json
from benchmarks.sign_fronts import FIGURES, controllers_of, measure
from commands.wiring import load_generator, load_prompts, make_requests
from envs.references import ReferenceCache
from eval.front import Front
from sign_backend.generator import SignGenerator, Tracking
from sign_backend.request import SignRequest

RUN_DIR = Path("runs/sign_audit")
LIVE_WEIGHTS = [0.004, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 0.9]


class Remembered:
    """A way of looking that answers the same question only once: controllers often agree."""

    def __init__(self, tracking: Tracking):
        self.tracking, self.fingerprint = tracking, tracking.fingerprint
        self._found: dict[tuple[str, tuple[int, ...], tuple[int, ...]], NDArray[np.float64]] = {}

    def look(
        self,
        request: SignRequest,
        kept: tuple[int, ...],
        points: NDArray[np.float64],
        new: Sequence[int],
    ) -> NDArray[np.float64]:
        """See `Tracking`; only for a tracker without chance."""
        question = (request.clip.content, kept, tuple(new))
        if question not in self._found:
            self._found[question] = self.tracking.look(request, kept, points, new)
        return self._found[question]

    def forget(self) -> None:
        """Of clips that are done."""
        self._found.clear()


def audit(
    policies: list[str],
    prompts: str = "signer:test:200",
    weights: list[float] = LIVE_WEIGHTS,
    run_dir: Path = RUN_DIR,
    part: int = 0,
    parts: int = 1,
) -> None:
    """Measure what is not there yet.

    Args:
        policies: folders, one a training seed.
        prompts: the clips.
        weights: of compute, at which policies are asked.
        run_dir: a folder for each model, in it one file a clip.
        part: of the clips, from 0.
        parts: how many processes share them.
    """
    torch.set_num_threads(1)
    generator: Any = load_generator("sign:live")
    generator.tracking = remembered = Remembered(generator.tracking)
    requests = make_requests(generator, load_prompts(prompts))[part::parts]
    groups = controllers_of(policies, weights, generator, requests[0])
    controllers = {c.identity: c for group in groups.values() for c in group.values()}
    for number, request in enumerate(requests, 1):
        _audit_clip(generator, request, controllers, _place(run_dir, generator, request))
        remembered.forget()
        Console().print(f"{number} of {len(requests)} clips")


def _audit_clip(
    generator: SignGenerator, request: Any, controllers: Mapping[str, Controller], place: Path
) -> None:
    known: dict[str, dict[str, float]] = read_json(place) if place.exists() else {}
    cache = ReferenceCache()
    for identity, controller in controllers.items():
        if set(FIGURES) <= known.get(identity, {}).keys():
            continue
        front = measure(identity, {identity: controller}, generator, [request], cache)
        figures = {"compute": front.compute, **front.figures}
        known[identity] = {name: float(values[0, 0]) for name, values in figures.items()}
        write_json(place, known)


def read_front(
    name: str,
    controllers: Mapping[str, Controller],
    generator: SignGenerator,
    requests: Sequence[SignRequest],
    run_dir: Path = RUN_DIR,
) -> Front:
    """What was measured of these controllers.

    Raises:
        DataError: a clip was not measured, or not with one of them.
    """
    files = [read_json(_place(run_dir, generator, request)) for request in requests]
    for request, file in zip(requests, files, strict=True):
        if missing := [c.identity for c in controllers.values() if c.identity not in file]:
            raise DataError(
                f"{request.label} was not measured with {', '.join(missing)}; run "
                "`python -m benchmarks.sign_audit` with the same policies and weights"
            )
    table = {
        figure: np.array(
            [[file[c.identity][figure] for c in controllers.values()] for file in files]
        )
        for figure in ("compute", *FIGURES)
    }
    compute = table.pop("compute")
    return Front(name, tuple(controllers), compute, table)


def _place(run_dir: Path, generator: SignGenerator, request: SignRequest) -> Path:
    return run_dir / generator.policy_fingerprint / f"{request.label.replace(' ', '_')}.json"


if __name__ == "__main__":
    auto_cli(audit)
