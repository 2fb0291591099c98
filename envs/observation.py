"""What the policy sees: a small bounded float vector.

| columns | what | range |
|---|---|---|
| `stage_0` ... | one-hot of the stage to be decided; all zero after the last one | 0 to 1 |
| `spent` | cost so far / full cost of the request (fixed cost included in the latter) | 0 to 1 |
| `saved` | cost saved so far / full cost of the request | 0 to 1 |
| `last_<field>` | last decision: ratio (1 = skip); place of a choice, 0 = full | 0 to 1 |
| features | `generator.features`, by their own names | -5 to 5 |
| `preference` | the weight w of this episode: 0 only fidelity counts, 1 only compute | 0 to 1 |
| `price` | ln(w / (1 - w)): what compute is worth in fidelity | -7 to 7 |

Values outside of their range are clipped to it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from base.decisions import Decision, Ratio
from envs.episode import Episode
from envs.generator import Generator
from envs.preference import LOG_ODDS_BOUND, log_odds
from envs.reward import check_finite

FEATURE_BOUND = 5.0
PROMPT_FEATURES = ("text_", "condition_")  # how the names begin of those that only tell the prompt


class Observation(Protocol):
    """How a policy sees a batch of rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns (of a vector) or channels (of codes), in order."""

    @property
    def space(self) -> spaces.Box:
        """Of one row."""

    def start(self, state: Any, episodes: Sequence[Episode]) -> None:
        """Called once for new episodes, with the state before their first decision."""

    def build(self, state: Any, episodes: Sequence[Episode]) -> np.ndarray:
        """[B, ...] float32, new memory at each call."""

    def show_preference(self, observations: np.ndarray, weight: float) -> None:
        """Write another preference weight into observations [B, ...], where they have one."""


def preference_columns(weight: float) -> tuple[float, float]:
    """The last two columns of an observation under this weight."""
    return weight, log_odds(weight)


class VectorObservation:
    """Builds observations of one generator; `names` has one entry a column, in order.

    Args:
        generator: whose features are shown.
        prompt: whether those that only tell the prompt are shown, too (`PROMPT_FEATURES`). They are
            many, and a policy that has few prompts to learn from learns them by heart.
    """

    def __init__(self, generator: Generator, prompt: bool = True):
        self.generator = generator
        hidden = () if prompt else PROMPT_FEATURES
        self._shown = [
            column
            for column, name in enumerate(generator.feature_names)
            if not name.startswith(hidden)
        ]
        stages = [f"stage_{stage}" for stage in range(generator.max_stages)]
        books = ["spent", "saved", *(f"last_{name}" for name in generator.decision_space.fields)]
        features = [generator.feature_names[column] for column in self._shown]
        self.names = (*stages, *books, *features, "preference", "price")
        shares = [0.0] * (len(stages) + len(books))

        def bounds(sign: int) -> list[float]:
            return [sign * FEATURE_BOUND] * len(features)

        self.space = spaces.Box(
            np.array([*shares, *bounds(-1), 0.0, -LOG_ODDS_BOUND], np.float32),
            np.array([*(1.0 for _ in shares), *bounds(1), 1.0, LOG_ODDS_BOUND], np.float32),
        )

    def start(self, state: Any, episodes: Sequence[Episode]) -> None:
        """Nothing has to be remembered when episodes begin."""

    def build(self, state: Any, episodes: Sequence[Episode]) -> np.ndarray:
        """[B, O] float32, new memory at each call.

        Raises:
            GenerationError: a feature is not finite.
        """
        features = self.generator.features(state)
        labels = [episode.request.label for episode in episodes]
        if not np.isfinite(features).all():
            for name, column in zip(self.generator.feature_names, features.T, strict=True):
                check_finite(f"feature {name!r}", column, labels, state.stage)
        if len(self._shown) < features.shape[1]:
            features = features[:, self._shown]
        columns = np.zeros((len(episodes), len(self.names)), np.float32)
        going = np.flatnonzero(~state.done)
        columns[going, state.stage[going]] = 1.0
        books = [(e.spent, e.saved, *self._encode(e.decisions)) for e in episodes]
        weights = [preference_columns(episode.preference) for episode in episodes]
        first = self.generator.max_stages
        columns[:, first : first + len(books[0])] = books
        columns[:, first + len(books[0]) : -2] = features
        columns[:, -2:] = weights
        return np.clip(columns, self.space.low, self.space.high, out=columns)

    def show_preference(self, observations: np.ndarray, weight: float) -> None:
        """Write another preference weight into the last two columns of [B, O]."""
        observations[:, -2:] = preference_columns(weight)

    def _encode(self, decisions: Sequence[Decision]) -> list[float]:
        """The last decision as numbers; before the first one the full decision, which is zeros."""
        fields = self.generator.decision_space.fields
        if not decisions:
            return [0.0] * len(fields)
        numbers = []
        for name, field in fields.items():
            value = decisions[-1][name]
            if not isinstance(field, Ratio):
                value = field.values.index(value) / max(len(field.values) - 1, 1)
            numbers.append(float(value))
        return numbers
