"""The settings of a training run: typed, with defaults, read from YAML by `prunegym train`."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.constraint import ConstraintOptions
from base.errors import ConfigError
from envs.latent_observation import check_shown
from envs.preference import between


@dataclass(frozen=True)
class EnvironmentOptions:
    """What the environment is told; see `envs.PruningEnv`.

    Attributes:
        preference: the weight between fidelity (0) and compute (1), or a range to draw it from.
        action_mode: `discrete` or `box`.
        menu: the decisions of `discrete`; by default the generator's own.
        first_controlled_stage: stages before it are computed in full.
        fresh_seeds: a new seed in every episode, which costs a new reference each.
        reward: `pareto`, or the predecessor's `v1`, `v2` or `v3`. Evaluations count by `pareto`.
        cost: `flops`, or `latency`: milliseconds by the latency table.
        obs_mode: `vector`, the same without the prompt's features (`vector_no_prompt`), or codes
            for a small CNN: `v1`, `v2`, `v3` as the predecessor showed them, `fixed` with the
            preference. See `envs/latent_observation.py`.
    """

    preference: float | tuple[float, float] = 0.5
    action_mode: str = "discrete"
    menu: list[dict[str, Any]] | None = None
    first_controlled_stage: int = 1
    fresh_seeds: bool = False
    reward: str = "pareto"
    cost: str = "flops"
    obs_mode: str = "vector"


@dataclass(frozen=True)
class PPOSettings:
    """Hyper-parameters, for episodes of a few steps whose return is one number between 0 and 1.

    Attributes:
        total_episodes: how long to train; rounded up to whole rollouts.
        num_envs: episodes generated side by side.
        rollout_episodes: episodes of each of them between two updates.
        batch_size: steps in one gradient step.
        num_epochs: passes over each rollout.
        learning_rate: at the start; falls to zero linearly.
        gamma: 1, since an episode is short and its return is what counts.
        gae_lambda: 1 trusts returns, 0 trusts the critic.
        clip_range: how far one update may move the policy.
        entropy_coefficient: pay for staying undecided.
        value_coefficient: weight of the critic's loss.
        max_gradient_norm: gradients are cut to this length.
        net_arch: widths of the hidden layers of actor and critic.
        relative_to: fixed controllers, such as `schedule:tail=[0.4,1]`: the most that one of them
            earns on the same request is subtracted while learning. `table`: every schedule of the
            decision table that is learned from.
        repeats: episodes of the same request and weight side by side; above 1 the mean of the
            others is subtracted from the return of each (RLOO). Instead of `relative_to`.
        in_compute: while learning, count returns in shares of compute, so that mistakes weigh
            alike at all weights of a range. For all three see `agents/relative_return.py`.
        weight_decay: of the optimizer (AdamW), against learning requests by heart.
        masked: never draw an action that is not allowed (MaskablePPO of sb3-contrib), instead of
            having it replaced; worth it where decisions forbid later ones, as dropped guidance.
    """

    total_episodes: int = 3000
    num_envs: int = 16
    rollout_episodes: int = 2
    batch_size: int = 64
    num_epochs: int = 10
    learning_rate: float = 3e-3
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    entropy_coefficient: float = 0.01
    value_coefficient: float = 0.5
    max_gradient_norm: float = 0.5
    net_arch: tuple[int, ...] = (64, 64)
    relative_to: str | list[str] | None = None
    repeats: int = 1
    in_compute: bool = False
    weight_decay: float = 0.0
    masked: bool = False


@dataclass(frozen=True)
class TrainSettings:
    """One run.

    Attributes:
        environment: see there.
        ppo: see there.
        seed: of weights, actions and the order of requests.
        evaluate_every: rollouts between two evaluations.
        checkpoint_every: rollouts between two checkpoints.
        constraint: keep a figure at a level and learn the weight, instead of giving it.
    """

    environment: EnvironmentOptions = field(default_factory=EnvironmentOptions)
    ppo: PPOSettings = field(default_factory=PPOSettings)
    seed: int = 0
    evaluate_every: int = 10
    checkpoint_every: int = 1
    constraint: ConstraintOptions | None = None

    def __post_init__(self) -> None:
        counts = {
            "evaluate_every": self.evaluate_every,
            "checkpoint_every": self.checkpoint_every,
            **{
                f"ppo.{name}": getattr(self.ppo, name)
                for name in (
                    "total_episodes",
                    "num_envs",
                    "rollout_episodes",
                    "num_epochs",
                    "repeats",
                )
            },
        }
        for name, value in counts.items():
            if value < 1:
                raise ConfigError(f"{name} is {value}; expected 1 or more")
        if self.ppo.num_envs % self.ppo.repeats:
            raise ConfigError(
                f"ppo.num_envs is {self.ppo.num_envs}, ppo.repeats {self.ppo.repeats}; expected a "
                "multiple of it"
            )
        if self.ppo.repeats > 1 and self.ppo.relative_to:
            raise ConfigError(
                "ppo.repeats compares episodes of a request with each other, which leaves nothing "
                "of what ppo.relative_to subtracts; set one of the two"
            )
        if self.ppo.relative_to and self.environment.fresh_seeds:
            raise ConfigError(
                "ppo.relative_to runs its schedule once per request, and environment.fresh_seeds "
                "makes a new request of every episode; set one of the two"
            )
        if self.ppo.relative_to and (self.environment.reward, self.environment.cost) != (
            "pareto",
            "flops",
        ):
            raise ConfigError(
                "ppo.relative_to goes with environment.reward 'pareto' and cost 'flops'; here they "
                f"are {self.environment.reward!r} and {self.environment.cost!r}. Leave it out: "
                "--ppo.relative_to null"
            )
        if self.constraint and self.environment.reward != "pareto":
            raise ConfigError(
                "a constraint goes with environment.reward 'pareto'; this one is "
                f"{self.environment.reward!r}"
            )
        check_shown(self.environment.obs_mode, self.evaluation_weights())
        if self.ppo.batch_size < 2:
            raise ConfigError(f"ppo.batch_size is {self.ppo.batch_size}; expected 2 or more")
        if not self.seed >= 0:
            raise ConfigError(f"seed is {self.seed}; expected 0 or more")

    def num_rollouts(self) -> int:
        """How many rollouts the training has."""
        return math.ceil(self.ppo.total_episodes / (self.ppo.num_envs * self.ppo.rollout_episodes))

    def evaluation_weights(self) -> tuple[float, ...]:
        """The weights that a policy is evaluated at: of a range its ends and its middle."""
        weights = self.environment.preference
        if not isinstance(weights, (tuple, list)):
            return (weights,)
        low, high = float(weights[0]), float(weights[-1])
        return (low, between(low, high, 0.5), high) if low < high else (low,)

    def plain(self) -> dict[str, Any]:
        """All settings by dotted name, as plain values for JSON."""
        plain: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                plain |= {f"{name}.{inner}": inner_value for inner, inner_value in value.items()}
            else:
                plain[name] = value
        # Tuples come back from JSON as lists, and the two must compare equal.
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}
