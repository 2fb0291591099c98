"""The table that comes with the package gives the environment of the model, without the model."""

import gymnasium
import numpy as np

import prunegym  # noqa: F401  (registers the ids)

KEEP_OR_SKIP = [{"prune_ratio": 0.0}, {"prune_ratio": 1.0}]


def test_it_equals_the_live_environment():
    settings = {"prompts": "scenes:train:6", "preference": 0.05, "first_controlled_stage": 3}
    envs = [
        gymnasium.make(
            "prunegym/InfinityPruning-v0", generator=generator, menu=KEEP_OR_SKIP, **settings
        )
        for generator in ("scenes", "table:scenes")
    ]
    random = np.random.default_rng(0)
    for episode in range(6):
        seen = [env.reset(seed=1 if episode == 0 else None) for env in envs]
        np.testing.assert_allclose(seen[0][0], seen[1][0], atol=1e-5)
        assert seen[0][1]["label"] == seen[1][1]["label"]
        done = False
        while not done:
            action = int(random.integers(2))
            live, looked_up = (env.step(action) for env in envs)
            np.testing.assert_allclose(live[0], looked_up[0], atol=1e-5)
            assert abs(live[1] - looked_up[1]) < 1e-6
            done = live[2]
            assert done == looked_up[2]
