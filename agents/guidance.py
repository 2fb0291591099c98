"""Controllers that drop the guidance branch late in the run, around any other controller.

`late`: off in the last stages, as the predecessor's newest tree and SkipVAR's second class do;
`calm`: off from the first stage whose predecessor changed little,
after LD-Pruning's adaptive skipping of the guidance branch.
"""

from typing import Any

import numpy as np

from agents.controllers import Controller, Situation
from base.decisions import Decision
from base.errors import ConfigError
from envs.generator import Generator


class _AroundAnother:
    """Takes cost and stages over from the controller inside."""

    def __init__(self, inner: Controller, ending: str) -> None:
        self.inner = inner
        self.name, self.identity = f"{inner.name}+{ending}", f"{inner.identity}+{ending}"
        self.flops_per_decision = inner.flops_per_decision
        self.first_controlled_stage = inner.first_controlled_stage
        self.replacements = inner.replacements
        self.obs_mode = inner.obs_mode


class LateWithoutGuidance(_AroundAnother):
    """No guidance branch in the last `stages` stages.

    Args:
        inner: decides everything else.
        stages: how many.

    Raises:
        ConfigError: not a positive number of stages.
    """

    def __init__(self, inner: Controller, stages: int) -> None:
        if stages < 1:
            raise ConfigError(f"{stages} stages; expected 1 or more")
        super().__init__(inner, f"no_guidance:{stages}")
        self.stages = stages

    def decide(self, situation: Situation) -> list[Decision]:
        """The inner decisions, late ones without guidance."""
        decisions = []
        for row, decision in enumerate(self.inner.decide(situation)):
            left = len(situation.stage_names[row]) - int(situation.stage[row])
            decisions.append({**decision, "guidance": False} if left <= self.stages else decision)
        return decisions


class CalmWithoutGuidance(_AroundAnother):
    """No guidance branch once a stage changed the codes by less than a share of their energy.

    Args:
        inner: decides everything else.
        threshold: the share.
        generator: its features `codes_size` and `codes_change` are looked at.

    Raises:
        ConfigError: a share that is not above 0, or a generator without these features.
    """

    def __init__(self, inner: Controller, threshold: float, generator: Generator) -> None:
        if not threshold > 0.0:
            raise ConfigError(f"the share is {threshold}; expected a number above 0")
        names = list(generator.feature_names)
        if not {"codes_size", "codes_change"} <= set(names):
            raise ConfigError("this generator's features do not tell how much a stage changed")
        super().__init__(inner, f"calm:{threshold:g}")
        self.threshold = threshold
        self._columns = [names.index("codes_size"), names.index("codes_change")]
        self._calm: set[tuple[str, int]] = set()

    def decide(self, situation: Situation) -> list[Decision]:
        """The inner decisions, without guidance for rows that are calm by now."""
        features: Any = situation.generator.features(situation.state)[:, self._columns]
        size, change = np.asarray(features).T
        decisions = []
        for row, decision in enumerate(self.inner.decide(situation)):
            key, stage = situation.requests[row].key, int(situation.stage[row])
            # A skipped stage changes nothing; that tells nothing about the picture.
            now = 0.0 < change[row] < self.threshold * size[row] ** 2
            if stage > 0 and (now or (key, stage - 1) in self._calm):
                self._calm.add((key, stage))
                decision = {**decision, "guidance": False}
            decisions.append(decision)
        return decisions
