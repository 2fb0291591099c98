"""What one environment, alone or in a batch, can be told when it is made."""

from collections.abc import Sequence
from dataclasses import dataclass

from base.decisions import Decision
from base.errors import ConfigError
from envs.final_fidelity import Scorer
from envs.latent_observation import OBSERVATIONS, check_shown
from envs.predecessor import FORMULAS
from envs.preference import check_preference
from envs.prefixes import PrefixCache
from envs.prices import LatencyTable
from envs.references import ReferenceCache
from envs.reward import REWARDS

COSTS = ("flops", "latency")


@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """The settings of `PruningEnv`, which documents them, checked.

    Raises:
        ConfigError: a value that cannot be used.
    """

    action_mode: str = "discrete"
    menu: Sequence[Decision] | None = None
    preference: float | tuple[float, float] = 0.5
    reward: str = "pareto"
    fidelity: str | None = None
    cost: str = "flops"
    obs_mode: str = "vector"
    scorers: Sequence[Scorer] = ()
    fresh_seeds: bool = False
    first_controlled_stage: int = 1
    strict_actions: bool = False
    reference_cache: ReferenceCache | None = None
    prefix_cache: PrefixCache | None = None
    shuffle: bool = True
    repeats: int = 1
    keep_images: bool = False
    latency_table: LatencyTable | None = None
    render_mode: str | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("reward", (*REWARDS, *FORMULAS)),
            ("obs_mode", OBSERVATIONS),
            ("cost", COSTS),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}"
                )
        if self.cost == "latency" and self.latency_table is None:
            raise ConfigError(
                "cost 'latency' needs a latency_table: measure one with 'prunegym calibrate'"
            )
        if self.first_controlled_stage < 0:
            raise ConfigError(
                f"first_controlled_stage is {self.first_controlled_stage}; expected 0 or more"
            )
        if self.repeats < 1:
            raise ConfigError(f"repeats is {self.repeats}; expected 1 or more")
        if self.render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode is {self.render_mode!r}; expected None or 'rgb_array'")
        low, high = self.preference_range
        if low > high:
            raise ConfigError(f"preference is {self.preference!r}; expected low before high")
        if self.reward in REWARDS:  # the predecessor's do not weigh
            check_shown(self.obs_mode, (low, high))

    @property
    def preference_range(self) -> tuple[float, float]:
        """(low, high), the same twice when the weight is fixed."""
        weights = self.preference if isinstance(self.preference, Sequence) else [self.preference]
        if len(weights) not in (1, 2):
            raise ConfigError(f"preference is {self.preference!r}; expected w or (low, high)")
        return check_preference(weights[0]), check_preference(weights[-1])
