"""Run a controller over requests: the one way in which generate, evaluate and demo make outputs.

Observations, actions and replacements of forbidden decisions are those of the environment, so a
policy sees in service what it saw in training.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agents.controllers import Controller, Situation
from agents.latency import synchronize
from base.errors import ConfigError
from envs.episode import Episode
from envs.generator import Generator, feature_cost
from envs.latent_observation import observation_of
from envs.observation import Observation
from envs.replacement import permitted
from envs.replay import full_decisions


@dataclass(frozen=True)
class Result:
    """One request, generated.

    Attributes:
        request: what was asked for.
        output: for `image` [height, width, 3] uint8.
        stage_names: of all stages, in order.
        decisions: one for each stage, with every field.
        stage_costs_flops: what each stage cost.
        cost_flops: what the user pays in all: text, stages, decoding, and the controller.
        full_cost_flops: the same with nothing pruned and no controller.
        latency_ms: time of its batch divided by the size of the batch.
        batch_size: how many were generated together.
    """

    request: Any
    output: np.ndarray
    stage_names: tuple[str, ...]
    decisions: tuple[dict[str, Any], ...]
    stage_costs_flops: tuple[float, ...]
    cost_flops: float
    full_cost_flops: float
    latency_ms: float
    batch_size: int

    @property
    def saved(self) -> float:
        """Share of the full cost that was not paid."""
        return 1 - self.cost_flops / self.full_cost_flops


def run_controller(
    generator: Generator, controller: Controller, requests: Sequence[Any], batch_size: int = 16
) -> Iterator[Result]:
    """Generate requests under a controller, batch by batch.

    Args:
        generator: makes the outputs.
        controller: decides for each row alone.
        requests: any number.
        batch_size: how many are generated together.

    Yields:
        One result a request, in order, as soon as its batch is done.

    Raises:
        GenerationError: a forbidden decision of a controller that does not replace them, or a
            result that is not finite.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; expected 1 or more")
    for start in range(0, len(requests), batch_size):
        yield from _run_batch(generator, controller, requests[start : start + batch_size])


def _run_batch(
    generator: Generator, controller: Controller, requests: Sequence[Any]
) -> list[Result]:
    start = time.perf_counter()
    encoder = observation_of(generator, controller.obs_mode)
    episodes = [_new_episode(generator, request) for request in requests]
    paid = np.zeros(len(requests))  # [B] FLOPs of the controller, and of what it looked at
    state = generator.begin(requests)
    while not state.done.all():
        controlled = ~state.done & (state.stage >= controller.first_controlled_stage)
        rows: list[int] = np.flatnonzero(controlled).tolist()
        decisions = full_decisions(generator, len(requests))
        if rows:
            part = generator.fork(state, rows) if len(rows) < len(requests) else state
            asking = [episodes[row] for row in rows]
            first = np.flatnonzero(part.stage == controller.first_controlled_stage).tolist()
            if first:
                encoder.start(generator.fork(part, first), [asking[row] for row in first])
            chosen, observed = _decide(generator, controller, encoder, part, asking)
            for row, decision in zip(rows, chosen, strict=True):
                decisions[row] = decision
            paid[rows] += observed + controller.flops_per_decision
        costs = generator.cost(state, decisions)
        for row in np.flatnonzero(~state.done).tolist():
            episodes[row].record(decisions[row], float(costs[row]))
        state = generator.advance(state, decisions)
    outputs = generator.finish(state)
    synchronize()
    latency_ms = (time.perf_counter() - start) * 1000 / len(requests)
    return [
        Result(
            request=episode.request,
            output=np.asarray(output),
            stage_names=tuple(stage.name for stage in episode.stages),
            decisions=tuple(episode.decisions),
            stage_costs_flops=tuple(episode.costs_flops),
            cost_flops=episode.fixed_cost_flops + sum(episode.costs_flops) + float(own),
            full_cost_flops=episode.full_cost_flops,
            latency_ms=latency_ms,
            batch_size=len(requests),
        )
        for episode, output, own in zip(episodes, outputs, paid, strict=True)
    ]


def _new_episode(generator: Generator, request: Any) -> Episode:
    fixed_cost_flops = float(generator.fixed_cost(request))
    # No reward is given here, so neither a reference nor a preference is needed.
    return Episode(request, 0.0, np.empty(0), generator.stages(request), fixed_cost_flops)


def _decide(
    generator: Generator,
    controller: Controller,
    encoder: Observation,
    state: Any,
    episodes: Sequence[Episode],
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A complete decision for each row of `state`, none of which is done.

    And [B] what it cost to observe them; nothing for controllers that did not ask.
    """
    menu = generator.decision_space.menu
    observed = np.zeros(len(episodes))

    def observe() -> np.ndarray:
        observed[:] = feature_cost(generator, state)
        return encoder.build(state, episodes)

    situation = Situation(
        requests=tuple(episode.request for episode in episodes),
        stage_names=tuple(tuple(stage.name for stage in e.stages) for e in episodes),
        stage=state.stage,
        menu=menu,
        allowed=partial(generator.allowed, state, menu),
        observe=observe,
        state=state,
        generator=generator,
    )
    decisions = [generator.decision_space.complete(d) for d in controller.decide(situation)]
    replacements = controller.replacements
    permitted_decisions, _ = permitted(
        generator, state, decisions, replacements or (), strict=replacements is None
    )
    return permitted_decisions, observed
