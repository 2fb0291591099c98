"""Milliseconds of each stage under each decision, measured on the device at hand.

A stage is a pure function of its state, so the same stage is run again and again. The stages
before it ran in full, which is the slow side: after pruned stages there are fewer cached keys.
"""

import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base.decisions import SKIP, Decision
from base.errors import CheckpointError, ConfigError
from base.files import read_json
from envs.generator import Generator

FORMAT = 1


def measure_latency(
    generator: Generator,
    requests: Sequence[Any],
    repeats: int = 10,
    warm_up: int = 2,
    device: str = "cpu",
    on_stage: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Time every stage under every decision of the generator's menu.

    Args:
        generator: what is timed.
        requests: one batch of requests with the same stages. Times are per request of it.
        repeats: timed runs of each.
        warm_up: runs before these that are not counted.
        device: where the generator runs, such as `cpu` or `cuda`.
        on_stage: called with the name of each stage before it is timed.

    Returns:
        The table as plain values for JSON; `LatencyTable` reads it.
    """
    if repeats < 1 or warm_up < 0:
        raise ConfigError(f"repeats is {repeats} and warm_up {warm_up}; expected >= 1 and >= 0")
    # Costs may differ with the length of the prompts; the stages must not.
    names = {tuple(stage.name for stage in generator.stages(request)) for request in requests}
    if len(names) != 1:
        raise ConfigError("calibration needs at least one request, and all with the same stages")

    def timed(run: Callable[[], Any]) -> dict[str, float]:
        return _time_runs(run, repeats, warm_up, len(requests))

    space = generator.decision_space
    full: list[Decision] = [space.complete({})] * len(requests)
    begin = timed(partial(generator.begin, requests))
    state = generator.begin(requests)
    rows = []
    for stage in generator.stages(requests[0]):
        on_stage(stage.name)
        possible = generator.allowed(state, space.menu).all(axis=0)  # [n]
        for index in np.flatnonzero(possible):
            decision = space.complete(space.menu[index])
            times = timed(partial(generator.advance, state, [decision] * len(requests)))
            rows.append({"stage": stage.name, "decision": decision, **times})
        features = timed(partial(generator.features, state))
        state = generator.advance(state, full)
    return {
        "format": FORMAT,
        "fingerprint": generator.fingerprint,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "batch_size": len(requests),
        "repeats": repeats,
        "begin": begin,
        "features": features,
        "finish": timed(partial(generator.finish, state)),
        "stages": rows,
    }


class LatencyTable:
    """Looks up what `measure_latency` measured.

    Args:
        path: the JSON file of `prunegym calibrate`.
        generator: what it is used for.

    Raises:
        CheckpointError: the file is not such a table, or was measured on another generator.
    """

    def __init__(self, path: str | Path, generator: Generator) -> None:
        table = read_json(path)
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not a latency table; make one: prunegym calibrate")
        if table["fingerprint"] != generator.fingerprint:
            raise CheckpointError(
                f"{path} was measured on generator {table['fingerprint']}; this one is "
                f"{generator.fingerprint}. Make a new one: prunegym calibrate"
            )
        self._generator = generator
        self.fixed_ms = float(table["begin"]["median_ms"] + table["finish"]["median_ms"])
        self._curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for row in table["stages"]:
            ratio, others = _split(row["decision"])
            curve = self._curves.setdefault((row["stage"], others), [])
            curve.append((ratio, float(row["median_ms"])))

    def stage_ms(self, stage: str, decision: Decision) -> float:
        """Return the milliseconds of a stage under a complete decision.

        Ratios between measured ones are interpolated; skip is its own measurement.

        Raises:
            ConfigError: nothing like it was measured.
        """
        ratio, others = _split(decision)
        curve = self._curves.get((stage, others), [])
        points = sorted(point for point in curve if (point[0] == SKIP) == (ratio == SKIP))
        if not points:
            raise ConfigError(f"the latency table has no {dict(decision)} at stage {stage!r}")
        ratios, milliseconds = zip(*points, strict=True)
        return float(np.interp(ratio, ratios, milliseconds))

    def latency_ms(self, request: Any, decisions: Sequence[Decision]) -> float:
        """Return the milliseconds of a whole request, from its text to its image.

        Args:
            request: what is generated.
            decisions: one for each of its stages.
        """
        complete = self._generator.decision_space.complete
        stages = zip(self._generator.stages(request), decisions, strict=True)
        return self.fixed_ms + sum(
            self.stage_ms(stage.name, complete(decision)) for stage, decision in stages
        )


def device_name(device: str) -> str:
    """Return what a person calls this device of torch."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({platform.processor() or platform.machine()})"


def synchronize() -> None:
    """Wait until the accelerator, if there is one, has done all that it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _time_runs(run: Callable[[], Any], repeats: int, warm_up: int, rows: int) -> dict[str, float]:
    durations_ms = []
    for index in range(warm_up + repeats):
        synchronize()
        start = time.perf_counter()
        run()
        synchronize()
        if index >= warm_up:
            durations_ms.append((time.perf_counter() - start) * 1000 / rows)
    low, median, high = np.percentile(durations_ms, [10, 50, 90])
    return {
        "median_ms": round(median, 4),
        "percentile_10_ms": round(low, 4),
        "percentile_90_ms": round(high, 4),
    }


def _split(decision: Decision) -> tuple[float, str]:
    """The ratio, and all other fields as one text."""
    others = {name: value for name, value in decision.items() if name != "prune_ratio"}
    return float(decision.get("prune_ratio", 0.0)), repr(sorted(others.items()))
