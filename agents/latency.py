"""Milliseconds of each stage under each decision, measured on the device at hand.

A stage is a pure function of its state, so the same stage is run again and again, its decisions in
turns, so that a machine that slows down meanwhile slows all of them. The stages before it ran in
full, which is the slow side: after pruned stages there are fewer cached keys. What it takes to
decide (features, observation, a policy of the usual size) is measured as well.
"""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.deterministic_actions import deterministic_actions
from agents.standardised_input import StandardisedInput
from base.decisions import SKIP, Choice, Decision, distinct
from base.errors import CheckpointError, ConfigError
from base.files import read_json
from envs.episode import Episode
from envs.generator import Generator
from envs.observation import VectorObservation

FORMAT = 2
_POLICY_WIDTHS = [64, 64]  # of the policy that is timed: the default of `prunegym train`


def measure_latency(
    generator: Generator,
    requests: Sequence[Any],
    repeats: int = 10,
    warm_up: int = 2,
    device: str = "cpu",
    on_stage: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Time every stage under every decision of the generator's menu, and what surrounds it.

    Where a decision has choices beside its ratio (guidance), their other values are timed, too.

    Args:
        generator: what is timed.
        requests: one batch of requests with the same stages. Times are per request of it.
        repeats: timed runs of each, of which the median and the 10 and 90 % points are kept.
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

    def timed(*runs: Callable[[], Any]) -> list[dict[str, float]]:
        return _time_runs(runs, repeats, warm_up, len(requests))

    full: list[Decision] = [generator.decision_space.complete({})] * len(requests)
    (begin,) = timed(partial(generator.begin, requests))
    state = generator.begin(requests)
    rows = []
    for stage in generator.stages(requests[0]):
        on_stage(stage.name)
        possible = _possible(generator, state)
        times = timed(*(partial(generator.advance, state, [d] * len(requests)) for d in possible))
        rows += [
            {"stage": stage.name, "decision": decision, **time}
            for decision, time in zip(possible, times, strict=True)
        ]
        before_last, state = state, generator.advance(state, full)
    features, decision = timed(
        partial(generator.features, before_last), decide_once(generator, before_last)
    )
    (finish,) = timed(partial(generator.finish, state))
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
        "decision": decision,
        "finish": finish,
        "stages": rows,
    }


def decide_once(generator: Generator, state: Any) -> Callable[[], Any]:
    """What a policy does at every stage, from features to actions, as a call that can be timed."""
    encoder = VectorObservation(generator)
    episodes = [
        Episode(request, 0.5, np.empty(0), generator.stages(request), 0.0)
        for request in state.requests
    ]
    policy = untrained_policy(generator)
    return lambda: deterministic_actions(policy, encoder.build(state, episodes))


def untrained_policy(generator: Generator) -> ActorCriticPolicy:
    """A policy of the usual size, which decides nothing sensible but takes the usual time."""
    policy = ActorCriticPolicy(
        VectorObservation(generator).space,
        spaces.Discrete(len(generator.decision_space.menu)),
        lr_schedule=lambda _: 0.0,
        net_arch=_POLICY_WIDTHS,
        features_extractor_class=StandardisedInput,
    )
    policy.set_training_mode(False)
    return policy


def _possible(generator: Generator, state: Any) -> list[dict[str, Any]]:
    """The menu, and its entries with another value of one choice; those that are allowed now."""
    space = generator.decision_space
    found = [space.complete(decision) for decision in space.menu]
    for name, field in space.fields.items():
        if isinstance(field, Choice):
            found += [{**d, name: value} for d in list(found) for value in field.values]
    found = distinct(found)
    allowed = np.flatnonzero(generator.allowed(state, found).all(axis=0))
    return [found[number] for number in allowed]


class LatencyTable:
    """Looks up what `measure_latency` measured.

    Args:
        table: the JSON file of `prunegym calibrate`, or what it holds.
        generator: what it is used for.

    Attributes:
        fixed_ms: what is paid whatever is decided: text and decoding.
        decision_ms: what one decision takes, features included.

    Raises:
        CheckpointError: the file is not such a table, or was measured on another generator.
    """

    def __init__(self, table: str | Path | Mapping[str, Any], generator: Generator) -> None:
        named = str(table) if isinstance(table, str | Path) else "the latency table"
        if isinstance(table, str | Path):
            table = read_json(table)
        if not isinstance(table, Mapping) or table.get("format") != FORMAT:
            raise CheckpointError(
                f"{named} is not a latency table of format {FORMAT}; make one: prunegym calibrate"
            )
        if table["fingerprint"] != generator.fingerprint:
            raise CheckpointError(
                f"{named} was measured on generator {table['fingerprint']}; this one is "
                f"{generator.fingerprint}. Make a new one: prunegym calibrate"
            )
        self._generator = generator
        self.fixed_ms = float(table["begin"]["median_ms"] + table["finish"]["median_ms"])
        self.decision_ms = float(table["decision"]["median_ms"])
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

    def latency_ms(self, request: Any, decisions: Sequence[Decision], asked: int = 0) -> float:
        """Return the milliseconds of a whole request, from its text to its image.

        Args:
            request: what is generated.
            decisions: one for each of its stages.
            asked: how often a policy decided.
        """
        complete = self._generator.decision_space.complete
        stages = zip(self._generator.stages(request), decisions, strict=True)
        return (
            self.fixed_ms
            + asked * self.decision_ms
            + sum(self.stage_ms(stage.name, complete(decision)) for stage, decision in stages)
        )


def latency_table_of(given: str | Path | None, generator: Generator) -> LatencyTable | None:
    """The latency table of this file, or the one that a table of decisions carries, if any."""
    carried = getattr(generator, "latency_record", None)
    record = given or carried
    return None if record is None else LatencyTable(record, generator)


def device_name(device: str) -> str:
    """Return what a person calls this device of torch."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({platform.processor() or platform.machine()})"


def synchronize() -> None:
    """Wait until the accelerator, if there is one, has done all that it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _time_runs(
    runs: Sequence[Callable[[], Any]], repeats: int, warm_up: int, rows: int
) -> list[dict[str, float]]:
    """Milliseconds a row of each of `runs`, which take turns."""
    durations_ms: list[list[float]] = [[] for _ in runs]
    for index in range(warm_up + repeats):
        for durations, run in zip(durations_ms, runs, strict=True):
            synchronize()
            start = time.perf_counter()
            run()
            synchronize()
            if index >= warm_up:
                durations.append((time.perf_counter() - start) * 1000 / rows)
    return [
        {
            name: round(float(np.percentile(durations, percent)), 4)
            for name, percent in (
                ("median_ms", 50),
                ("percentile_10_ms", 10),
                ("percentile_90_ms", 90),
            )
        }
        for durations in durations_ms
    ]


def _split(decision: Decision) -> tuple[float, str]:
    """The ratio, and all other fields as one text."""
    others = {name: value for name, value in decision.items() if name != "prune_ratio"}
    return float(decision.get("prune_ratio", 0.0)), repr(sorted(others.items()))
