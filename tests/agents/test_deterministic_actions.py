"""Only the layers are run, and the actions are those that Stable-Baselines3 predicts."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.deterministic_actions import deterministic_actions
from agents.standardised_input import input_layer

RNG = np.random.default_rng(3)
VECTOR = spaces.Box(-5, 5, (7,), np.float32)
CODES = spaces.Box(-5, 5, (2, 8, 8), np.float32)


def policy_of(kind, seen, actions):
    torch.manual_seed(1)
    policy = kind(seen, actions, lambda _: 0.0, features_extractor_class=input_layer(seen))
    for parameter in policy.action_net.parameters():  # so that actions differ, some beyond the box
        torch.nn.init.normal_(parameter, std=3.0)
    policy.set_training_mode(False)
    return policy


def observations_of(space):
    return RNG.normal(size=(32, *space.shape)).astype(np.float32)


@pytest.mark.parametrize("seen", [VECTOR, CODES], ids=["vector", "codes"])
@pytest.mark.parametrize(
    "actions", [spaces.Discrete(5), spaces.Box(-1, 1, (2,), np.float32)], ids=["menu", "box"]
)
def test_as_predicted(seen, actions):
    policy, observations = policy_of(ActorCriticPolicy, seen, actions), observations_of(seen)
    expected, _ = policy.predict(observations, deterministic=True)
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(deterministic_actions(policy, observations), expected)


def test_as_predicted_among_what_is_allowed():
    policy = policy_of(MaskableActorCriticPolicy, VECTOR, spaces.Discrete(5))
    observations, allowed = observations_of(VECTOR), RNG.random((32, 5)) < 0.4
    allowed[:, 2] = True
    expected, _ = policy.predict(observations, deterministic=True, action_masks=allowed)
    found = deterministic_actions(policy, observations, allowed)
    np.testing.assert_array_equal(found, expected)
    assert (found != deterministic_actions(policy, observations)).any()


def test_other_work_keeps_its_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        policy = policy_of(ActorCriticPolicy, VECTOR, spaces.Discrete(5))
        deterministic_actions(policy, observations_of(VECTOR))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
