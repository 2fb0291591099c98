"""What one environment, alone or in a batch, can be told when it is made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from base.decisions import Decision
from base.errors import ConfigError
from envs.references import ReferenceCache
from envs.reward import REWARDS


class LatencyTable(Protocol):
    """Milliseconds on one device, as calibrated."""

    def latency_ms(self, request: Any, decisions: Sequence[Decision]) -> float:
        """What the request takes under these decisions, one per stage, all fixed parts included."""


@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """The settings that `PruningEnv` documents, checked.

    Raises:
        ConfigError: a value that cannot be used.
    """

    action_mode: str = "discrete"
    menu: Sequence[Decision] | None = None
    preference: float | tuple[float, float] = 0.5
    reward: str = "pareto"
    fresh_seeds: bool = False
    first_controlled_stage: int = 1
    strict_actions: bool = False
    reference_cache: ReferenceCache | None = None
    shuffle: bool = True
    keep_images: bool = False
    latency_table: LatencyTable | None = None

    def __post_init__(self) -> None:
        if self.reward not in REWARDS:
            raise ConfigError(f"reward is {self.reward!r}; expected one of {sorted(REWARDS)}")
        if self.first_controlled_stage < 0:
            raise ConfigError(
                f"first_controlled_stage is {self.first_controlled_stage}; expected 0 or more"
            )
        weights = self.preference if isinstance(self.preference, Sequence) else [self.preference]
        if len(weights) > 2 or list(weights) != sorted(map(check_preference, weights)):
            raise ConfigError(
                f"preference is {self.preference!r}; expected a weight from 0 (only fidelity "
                "counts) to 1 (only compute counts), or a range (low, high) of such weights"
            )


def check_preference(value: Any) -> float:
    """Return the weight as a float.

    Raises:
        ConfigError: it is not a number from 0 to 1.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or math.isnan(value) or not 0 <= value <= 1:
        raise ConfigError(
            f"preference is {value!r}; expected a weight from 0 (only fidelity counts) "
            "to 1 (only compute counts)"
        )
    return float(value)
