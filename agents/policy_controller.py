"""A trained policy as a controller."""

import copy
from pathlib import Path

import numpy as np
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import nn

from agents.controllers import Situation
from agents.deterministic_actions import deterministic_actions
from agents.policy_file import Policy, PolicyDefinition, load_policy
from agents.run_folder import POLICY_FOLDERS
from agents.standardised_input import StandardisedInput
from base.decisions import Decision
from base.errors import CheckpointError, ConfigError
from envs.generator import Generator
from envs.latent_observation import observation_of
from envs.preference import between

SHIPPED = Path(__file__).parent / "pretrained"


class PolicyController:
    """Takes the most probable action, as the environment would read it.

    Args:
        name: as the user wrote it.
        identity: the name with a hash of the weights.
        policy: what `prunegym train` made.
        definition: what goes in and out.
        generator: what is controlled.
        preference: the weight that the policy is shown, within the range that it was trained for;
            by default the middle of that.

    Raises:
        ConfigError: a weight that the policy was not trained for.
    """

    def __init__(
        self,
        name: str,
        identity: str,
        policy: Policy,
        definition: PolicyDefinition,
        generator: Generator,
        preference: float | None = None,
    ) -> None:
        self.name = name
        self.identity = identity
        self.policy = policy
        self.first_controlled_stage = definition.first_controlled_stage
        self.flops_per_decision = count_actor_flops(policy)
        self.obs_mode = definition.obs_mode
        self._observation = observation_of(generator, definition.obs_mode)
        self._encoding = definition.encoding(generator)
        self.replacements: tuple[Decision, ...] | None = self._encoding.menu
        low, high = float(np.min(definition.preference)), float(np.max(definition.preference))
        self.preference_range = (low, high)
        if preference is not None and not low <= preference <= high:
            raise ConfigError(
                f"{name}: preference {preference:g}; this policy was trained for {low:g} to "
                f"{high:g}. Choose one of these, or train with --environment.preference"
            )
        self.preference = between(low, high, 0.5) if preference is None else preference

    def at(self, preference: float) -> "PolicyController":
        """The same policy, shown another weight of its range."""
        other = copy.copy(self)
        other.preference = preference
        other.identity = f"{self.identity} at {preference!r}"
        return other

    def decide(self, situation: Situation) -> list[Decision]:
        """Ask the policy once for all rows."""
        observation = situation.observe()
        self._observation.show_preference(observation, self.preference)
        allowed = None
        if isinstance(self.policy, MaskableActorCriticPolicy):
            allowed = situation.generator.allowed(situation.state, self._encoding.menu)
        actions = deterministic_actions(self.policy, observation, allowed)
        labels = [request.label for request in situation.requests]
        return list(self._encoding.decode(actions, labels, situation.stage))


def load_policy_controller(
    name: str, folder: Path, generator: Generator, preference: float | None = None
) -> PolicyController:
    """Load the policy of a run folder (its best one), or of a folder that holds just a policy.

    Args:
        name: as the user wrote it.
        folder: see above; or the name of a policy that comes with the package (`scenes`).
        generator: what will be controlled.
        preference: the weight that it is shown; by default the middle of what it was trained for.

    Raises:
        CheckpointError: there is none, it is damaged, or it is for another generator.
        ConfigError: a weight that the policy was not trained for.
    """
    places = [folder, *(folder / part for part in POLICY_FOLDERS), SHIPPED / folder]
    found = [place for place in places if (place / "policy.json").is_file()]
    if not found:
        raise CheckpointError(
            f"no policy.json in {folder} or its {', '.join(POLICY_FOLDERS)}; expected a run folder "
            "of 'prunegym train', or 'scenes' for the policy that comes with the package"
        )
    policy, definition, digest = load_policy(found[0], generator)
    identity = f"policy {digest[:16]}" + ("" if preference is None else f" at {preference!r}")
    return PolicyController(name, identity, policy, definition, generator, preference)


def count_actor_flops(policy: Policy) -> float:
    """FLOPs of one decision (multiply-add = 2): the critic is not needed to decide."""
    layers = [*policy.mlp_extractor.policy_net.modules(), policy.action_net]
    extractor = policy.features_extractor
    assert isinstance(extractor, StandardisedInput)
    return extractor.flops + float(
        sum(
            2 * layer.in_features * layer.out_features
            for layer in layers
            if isinstance(layer, nn.Linear)
        )
    )
