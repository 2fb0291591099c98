"""Controllers: whatever decides how much of each stage to compute.

`agents/parse_controller.py` makes one from a text, `agents/rollout.py` asks it. The learned one is
in `agents/policy_controller.py`.

Glossary of shapes: B rows, O observation columns, n decisions of the menu.
"""

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from agents.schedules import parse_schedule
from base.decisions import Decision, Ratio
from base.errors import ConfigError
from envs.generator import Generator


@dataclass(frozen=True)
class Situation:
    """What a controller may look at: B rows, each before its next stage.

    Attributes:
        requests: one a row.
        stage_names: the names of all stages of each row, in order.
        stage: [B] int64, the index of the stage to decide about.
        menu: n decisions to choose from.
        allowed: gives [B, n] bool, which of them each row may take.
        observe: gives [B, ...] float32, what the environment would show under `obs_mode`.
        state: of the generator, for rules made for one kind of generator.
        generator: that made the state: the model, or a table of what it does.
    """

    requests: tuple[Any, ...]
    stage_names: tuple[tuple[str, ...], ...]
    stage: np.ndarray
    menu: tuple[Decision, ...]
    allowed: Callable[[], np.ndarray]
    observe: Callable[[], np.ndarray]
    state: Any
    generator: Generator


class Controller(Protocol):
    """Decides for a batch of rows.

    Attributes:
        name: as the user wrote it.
        identity: names all that its decisions depend on, so that outputs of two never mix.
        flops_per_decision: what asking it once costs for one row.
        first_controlled_stage: stages before it are computed in full without asking.
        replacements: as in the environment, the nearest allowed one of these takes the place of a
            forbidden decision; `None` makes that an error.
        obs_mode: what `Situation.observe` gives, as the environment's setting of that name.
    """

    name: str
    identity: str
    flops_per_decision: float
    first_controlled_stage: int
    replacements: tuple[Decision, ...] | None
    obs_mode: str

    def decide(self, situation: Situation) -> list[Decision]:
        """Return one decision a row."""


class _Rule:
    """What all controllers have in common that cost nothing and learn nothing."""

    flops_per_decision = 0.0
    first_controlled_stage = 0
    replacements: tuple[Decision, ...] | None = None
    obs_mode = "vector"


class NoPruning(_Rule):
    """Everything is computed: what references are made with."""

    name = identity = "none"

    def decide(self, situation: Situation) -> list[Decision]:
        """Return full decisions."""
        return [{} for _ in situation.requests]


class FixedSchedule(_Rule):
    """The same ratios for every request.

    Args:
        text: what `agents.schedules.parse_schedule` reads.
    """

    def __init__(self, text: str) -> None:
        self.text = "".join(text.split())
        self.name = self.identity = f"schedule:{self.text}"
        # Requests of one generator may have different stages: each kind is parsed once.
        self._ratios = lru_cache(lambda stage_names: parse_schedule(self.text, stage_names))

    def decide(self, situation: Situation) -> list[Decision]:
        """Return the ratio of each row's stage."""
        return [
            {"prune_ratio": self._ratios(stage_names)[stage]}
            for stage_names, stage in zip(situation.stage_names, situation.stage, strict=True)
        ]


class RatioFunction(_Rule):
    """A function `get_pruning_ratio(scale, num_scales) -> float`, asked for every row and stage.

    Args:
        name: as the user wrote it.
        function: returns a ratio in [0, 1]; exactly 1 is skip.
    """

    def __init__(self, name: str, function: Callable[[int, int], float]) -> None:
        self.name = name
        self.function = function
        self.identity = f"{name} (source {_hash_of_source(function)})"

    def decide(self, situation: Situation) -> list[Decision]:
        """Ask the function."""
        return [
            {"prune_ratio": self._ratio(int(stage), len(stage_names))}
            for stage_names, stage in zip(situation.stage_names, situation.stage, strict=True)
        ]

    def _ratio(self, stage: int, num_stages: int) -> float:
        value = self.function(stage, num_stages)
        try:
            return Ratio().check("the ratio", float(value))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.name} returned {value!r} for stage {stage} of {num_stages}: {error}"
            ) from error


class RandomChoice(_Rule):
    """Any allowed decision of the menu with equal probability, the same for the same request.

    Args:
        seed: another seed gives other decisions.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.name = self.identity = f"random:{seed}"

    def decide(self, situation: Situation) -> list[Decision]:
        """Draw for each row alone, so that neighbours change nothing."""
        decisions = []
        allowed = situation.allowed()
        for row, request in enumerate(situation.requests):
            key = f"{self.seed}/{request.key}/{situation.stage[row]}"
            digest = hashlib.sha256(key.encode()).digest()
            random = np.random.default_rng(int.from_bytes(digest[:16], "little"))
            choice = random.choice(np.flatnonzero(allowed[row]))
            decisions.append(situation.menu[choice])
        return decisions


def _hash_of_source(function: Callable[..., Any]) -> str:
    try:
        source = inspect.getsource(sys.modules[function.__module__])
    except (OSError, TypeError, AttributeError, KeyError):  # built in, or typed at a prompt
        return "unknown"
    return hashlib.sha256(source.encode()).hexdigest()[:12]
