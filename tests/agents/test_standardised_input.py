import numpy as np
import torch

from agents.standardised_input import StandardisedInput, observe_random_actions
from envs.sb3_vec_env import PruningVecEnv
from envs.toy import ToyGenerator, ToyRequest


def test_columns_are_standardised_as_measured():
    env = PruningVecEnv(
        ToyGenerator(), [ToyRequest(index) for index in range(8)], 4, preference=(0.02, 0.1)
    )
    seen = observe_random_actions(env, 24, seed=3)
    assert len(seen) >= 24 * 2  # two controlled stages or more
    np.testing.assert_array_equal(seen, observe_random_actions(env, 24, seed=3))
    layer = StandardisedInput(env.observation_space)
    np.testing.assert_array_equal(layer(torch.from_numpy(seen)).numpy(), seen)  # not measured yet
    layer.measure(seen)
    found = layer(torch.from_numpy(seen)).numpy()
    constant = seen.std(0) < 1e-4
    assert 0 < constant.sum() < len(constant)
    np.testing.assert_allclose(found.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(found.std(0)[~constant], 1, atol=0.05)
    assert np.abs(layer(torch.full((1, seen.shape[1]), 1e6)).numpy()).max() == 5
