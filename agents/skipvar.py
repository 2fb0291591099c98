"""SkipVAR's rule: once per image, late in the run, two features of the picture say how to go on.

Source: SkipVAR (2025); the constants are those of its release (MIT licence). Class k of the first
model skips the last k stages; where that is 0, class k of the second one drops the guidance branch
in the last k.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from agents.controllers import Situation
from base.decisions import SKIP, Decision
from base.errors import ConfigError, GenerationError
from envs.generator import Generator

CONSTANTS = Path(__file__).parent / "data" / "skipvar.json"
DECIDED_STAGES = 3  # the last so many stages are decided about


@dataclass(frozen=True)
class DecisionModel:
    """Two multinomial logistic regressions on standardised features.

    Attributes:
        name: of the published set, such as `ssim_84`.
        stages: `skip` and `uncond`, each with mean, scale, coef, intercept and classes.
    """

    name: str
    stages: dict[str, dict[str, Any]]
    prefix: ClassVar[str] = "decision_model_"

    @classmethod
    @lru_cache(maxsize=8)
    def load(cls, name: str) -> "DecisionModel":
        """One of the shipped sets.

        Raises:
            ConfigError: there is no such set.
        """
        sets = json.loads(CONSTANTS.read_text(encoding="utf-8"))["sets"]
        short = name.removeprefix(cls.prefix)
        if short not in sets:
            raise ConfigError(f"no SkipVAR set {name!r}; known are {', '.join(sets)}")
        return cls(short, sets[short])

    def scores(self, stage: str, features: np.ndarray) -> np.ndarray:
        """One score a class; sets of one feature look at the first only."""
        model = self.stages[stage]
        used = features[: len(model["mean"])]
        standard = (used - np.array(model["mean"])) / np.array(model["scale"])
        return np.array(model["coef"]) @ standard + np.array(model["intercept"])

    def classify(self, stage: str, features: np.ndarray) -> int:
        """The class with the largest score."""
        return int(self.stages[stage]["classes"][int(self.scores(stage, features).argmax())])

    def tail(self, features: np.ndarray) -> tuple[Decision, ...]:
        """Decisions about the last three stages, in order."""
        skipped = self.classify("skip", features)
        bare = 0 if skipped else self.classify("uncond", features)
        decisions: list[Decision] = []
        for left in range(DECIDED_STAGES, 0, -1):
            decision = {"prune_ratio": SKIP if left <= skipped else 0.0, "guidance": left > bare}
            decisions.append(decision)
        return tuple(decisions)


class SkipVarController:
    """Asks a decision model before the third last stage and keeps to its answer.

    Args:
        name: of the set; `ssim_84` is SkipVAR's own default.
        generator: gives `detail_features(state)` [B, 2] and their cost.

    Raises:
        ConfigError: an unknown set, or a generator without such features.
    """

    replacements: tuple[Decision, ...] | None = None
    obs_mode = "vector"

    def __init__(self, name: str, generator: Generator) -> None:
        if not hasattr(generator, "detail_features"):
            raise ConfigError("SkipVAR looks at pictures; this generator has no detail_features")
        self.generator = cast(Any, generator)
        self.model = DecisionModel.load(name)
        self.name = self.identity = f"skipvar:{self.model.name}"
        self.first_controlled_stage = max(1, generator.max_stages - DECIDED_STAGES)
        asked = generator.max_stages - self.first_controlled_stage
        self.flops_per_decision: float = self.generator.detail_features_flops / asked
        self._tails: dict[str, tuple[Decision, ...]] = {}

    def decide(self, situation: Situation) -> list[Decision]:
        """The rows before the third last stage are looked at; later ones follow their answer."""
        first = situation.stage == self.first_controlled_stage
        if first.any():
            rows = np.flatnonzero(first).tolist()
            if not hasattr(situation.generator, "detail_features"):
                raise GenerationError(
                    "SkipVAR looks at pictures, and a table of decisions has none"
                )
            state = self.generator.fork(situation.state, rows)
            features = self.generator.detail_features(state)
            for row, pair in zip(rows, features, strict=True):
                self._tails[situation.requests[row].key] = self.model.tail(pair)
        decisions = []
        for row, request in enumerate(situation.requests):
            left = len(situation.stage_names[row]) - int(situation.stage[row])
            decisions.append(self._tails[request.key][-left])
        return decisions
