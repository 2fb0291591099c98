"""What the policy sees: a small bounded float vector.

| columns | what | range |
|---|---|---|
| `stage_0` ... | one-hot of the stage to be decided; all zero after the last one | 0 to 1 |
| `spent` | cost so far / full cost of the request (fixed cost included in the latter) | 0 to 1 |
| `saved` | cost saved so far / full cost of the request | 0 to 1 |
| `last_<field>` | last decision: ratio (1 = skip); place of a choice, 0 = full | 0 to 1 |
| features | `generator.features`, by their own names | -5 to 5 |
| `preference` | the weight w of this episode: 0 only fidelity counts, 1 only compute | 0 to 1 |

Values outside of their range are clipped to it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from base.decisions import Decision, Ratio
from envs.episode import Episode
from envs.generator import Generator
from envs.reward import check_finite

FEATURE_BOUND = 5.0


class VectorObservation:
    """Builds observations of one generator; `names` has one entry a column, in order."""

    def __init__(self, generator: Generator):
        self.generator = generator
        fields = generator.decision_space.fields
        before = [f"stage_{stage}" for stage in range(generator.max_stages)]
        before += ["spent", "saved", *(f"last_{name}" for name in fields)]
        self.names = (*before, *generator.feature_names, "preference")
        high = np.ones(len(self.names), np.float32)
        low = np.zeros(len(self.names), np.float32)
        self._features = slice(len(before), len(before) + len(generator.feature_names))
        high[self._features], low[self._features] = FEATURE_BOUND, -FEATURE_BOUND
        self.space = spaces.Box(low, high, dtype=np.float32)

    def build(self, state: Any, episodes: Sequence[Episode]) -> np.ndarray:
        """[B, O] float32, new memory at each call.

        Raises:
            GenerationError: a feature is not finite.
        """
        rows = np.arange(len(episodes))
        columns = np.zeros((len(episodes), len(self.names)), np.float32)
        going = ~state.done
        columns[rows[going], state.stage[going]] = 1
        stages = self.generator.max_stages
        columns[:, stages : self._features.start] = [
            (episode.spent, episode.saved, *self._encode(episode.decisions)) for episode in episodes
        ]
        columns[:, self._features] = check_finite(
            "feature",
            self.generator.features(state),
            [episode.request.label for episode in episodes],
            state.stage,
        )
        columns[:, -1] = [episode.preference for episode in episodes]
        return np.clip(columns, self.space.low, self.space.high)

    def _encode(self, decisions: Sequence[Decision]) -> list[float]:
        """The last decision as numbers; before the first one the full decision, which is zeros."""
        if not decisions:
            return [0.0] * len(self.generator.decision_space.fields)
        return [
            float(decisions[-1][name])
            if isinstance(field, Ratio)
            else field.values.index(decisions[-1][name]) / max(len(field.values) - 1, 1)
            for name, field in self.generator.decision_space.fields.items()
        ]
