"""The most compute saved while a figure keeps a level: the weight w is learned with the policy.

Maximising what is saved subject to `fidelity >= target` is, for the right Lagrange multiplier m,
maximising saved + m * fidelity, which is the reward at the weight w = 1 / (1 + m). So between two
rollouts w goes up while there is damage to spare, and down while there is too much: a step of dual
ascent on ln m (which keeps m above 0), in units of the damage that is allowed (Boyd and
Vandenberghe 2004, section 5; Stooke et al. 2020 for its use in reinforcement learning).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from base.errors import ConfigError
from envs.preference import LOG_ODDS_BOUND, check_preference, log_odds


@dataclass(frozen=True)
class ConstraintOptions:
    """What must be kept.

    Attributes:
        figure: its name: `ssim` or another figure of which 1 is the best value, or one that falls
            to 0 as outputs improve, such as `lpips` (then it must be among the `metrics`).
        target: the mean of the figure must be at least this, or at most, for one that falls.
        preference: the weight to begin with.
        rate: how fast the weight moves, in log-odds a rollout for a damage that is all unused.
    """

    figure: str = "ssim"
    target: float = 0.98
    preference: float = 0.1
    rate: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < check_preference(self.preference) < 1:
            raise ConfigError(
                f"constraint.preference is {self.preference}; expected a weight between 0 and 1"
            )
        if not self.rate > 0:
            raise ConfigError(f"constraint.rate is {self.rate}; expected a number above 0")


class Constraint:
    """The weight that goes with a constraint, as learned so far.

    Args:
        options: see there.
        falls: whether the figure falls as outputs improve.

    Attributes:
        price: ln(w / (1 - w)) = -ln m: all there is to save.

    Raises:
        ConfigError: a target that allows no damage at all, or all of it.
    """

    def __init__(self, options: ConstraintOptions, falls: bool):
        self.options, self.falls = options, falls
        self.price = log_odds(options.preference)
        self.allowed = self.damage(options.target)
        if not 0 < self.allowed < 1:
            best = 0 if falls else 1
            raise ConfigError(
                f"constraint.target is {options.target} for {options.figure}, whose best value is "
                f"taken to be {best}; expected a value between 0 and 1"
            )

    @property
    def preference(self) -> float:
        """The weight w."""
        return 1 / (1 + math.exp(-self.price))

    def damage(self, value: float) -> float:
        """How far a figure is from its best value."""
        return value if self.falls else 1 - value

    def learn(self, mean: float) -> None:
        """Move the weight by what the last rollout left of the allowed damage."""
        unused = min(max(1 - self.damage(mean) / self.allowed, -1.0), 1.0)
        price = self.price + self.options.rate * unused
        self.price = min(max(price, -LOG_ODDS_BOUND), LOG_ODDS_BOUND)

    def score(self, means: Mapping[str, float]) -> float:
        """What is saved where the constraint holds; less than any such score where it does not.

        Raises:
            ConfigError: the figure was not measured.
        """
        if self.options.figure not in means:
            raise ConfigError(
                f"constraint.figure is {self.options.figure!r}; the figures are "
                f"{', '.join(sorted(means))}. Add it to the metrics"
            )
        damage = self.damage(means[self.options.figure]) / self.allowed
        return means["saved"] if damage <= 1 else -damage
