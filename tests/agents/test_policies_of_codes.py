"""Policies that look at codes, in the predecessor's layouts: trained, saved, loaded, served."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from agents.evaluation import evaluate_controller
from agents.policy_controller import load_policy_controller
from agents.policy_file import load_policy
from agents.ppo import train
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from agents.standardised_input import StandardisedCodes, StandardisedInput
from base.errors import CheckpointError, ConfigError
from envs.latent_observation import LatentObservation
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv
from envs.toy import ToyGenerator
from tests.agents.walk import walk
from tests.infinity_backend.tiny import requests, tiny_generator

FIRST = 2
MENU = [{"prune_ratio": 0.0}, {"prune_ratio": 1.0}]
REQUESTS = requests(4)


def settings(obs_mode, preference=0.5):
    return TrainSettings(
        environment=EnvironmentOptions(
            preference=preference, menu=MENU, first_controlled_stage=FIRST, obs_mode=obs_mode
        ),
        ppo=PPOSettings(
            total_episodes=16,
            num_envs=4,
            batch_size=16,
            num_epochs=2,
            learning_rate=0.02,
            net_arch=(8,),
        ),
    )


@pytest.mark.parametrize("obs_mode", ["v1", "v2", "v3", "fixed", "vector_no_prompt"])
def test_a_policy_of_codes_serves_as_it_was_trained(tmp_path, obs_mode):
    generator = tiny_generator()
    train(generator, REQUESTS, requests(6)[4:], settings(obs_mode), tmp_path)
    controller = load_policy_controller("p", tmp_path / "last", generator)
    assert controller.obs_mode == obs_mode
    cache = ReferenceCache()
    served = evaluate_controller(generator, controller, REQUESTS, cache, preference=0.5)

    settings_of_env = {"menu": MENU, "first_controlled_stage": FIRST, "obs_mode": obs_mode}
    walked = walk(controller.policy, generator, REQUESTS, cache, **settings_of_env)
    for row, result in enumerate(served.results):
        summary = walked[result.request.key]
        assert list(result.decisions) == list(summary["decisions"])
        assert served.columns["return"][row] == pytest.approx(summary["return"])
        own = (generator.max_stages - FIRST) * controller.flops_per_decision
        assert result.cost_flops == pytest.approx(summary["cost_flops"] + own)


def test_what_is_served_is_what_the_environment_shows():
    """Observation by observation: also the codes that v3 keeps in view."""
    generator = tiny_generator()

    class Watching:
        name = identity = "watching"
        flops_per_decision = 0.0
        first_controlled_stage = FIRST
        replacements = None

        def __init__(self, obs_mode):
            self.obs_mode, self.seen = obs_mode, []

        def decide(self, situation):
            self.seen.append(situation.observe())
            return [{} for _ in situation.requests]

    for obs_mode in ("vector", "v3", "fixed"):
        watching = Watching(obs_mode)
        cache = ReferenceCache()
        evaluate_controller(generator, watching, REQUESTS, cache, preference=0.0)
        env = PruningVecEnv(
            generator,
            REQUESTS,
            len(REQUESTS),
            first_controlled_stage=FIRST,
            obs_mode=obs_mode,
            shuffle=False,
            preference=0.0,
            reference_cache=cache,
        )
        env.seed(0)
        shown = [env.reset()]
        while len(shown) < len(watching.seen):
            shown.append(env.step(np.zeros(len(REQUESTS), int))[0])
        np.testing.assert_allclose(np.stack(watching.seen), np.stack(shown), atol=1e-5)


def test_channels_are_standardised_and_convolutions_are_charged():
    space = LatentObservation(tiny_generator(), "fixed").space
    layer = StandardisedCodes(space)
    seen = np.random.default_rng(0).normal(3.0, 2.0, (50, *space.shape)).astype(np.float32)
    layer.measure(seen)
    found = StandardisedInput.forward(layer, torch.from_numpy(seen).movedim(1, -1))
    assert abs(float(found.mean())) < 0.05 and float(found.std()) == pytest.approx(1, abs=0.05)
    with FlopCounterMode(display=False) as counter:
        columns = layer(torch.from_numpy(seen[:1]))
    assert layer.flops == counter.get_total_flops() > 0
    assert columns.shape == (1, layer.features_dim)


def test_a_range_of_weights_must_be_shown():
    with pytest.raises(ConfigError, match="does not show the preference"):
        settings("v1", preference=(0.1, 0.4))
    assert settings("fixed", preference=(0.1, 0.4)).environment.obs_mode == "fixed"


def test_codes_need_a_generator_that_shows_them(tmp_path):
    train(tiny_generator(), REQUESTS, requests(6)[4:], settings("v1"), tmp_path)
    with pytest.raises(CheckpointError, match="no `latent`"):
        load_policy(tmp_path / "last", ToyGenerator())


def test_without_the_prompt_the_other_columns_are_the_same():
    generator = tiny_generator()
    shown = {
        mode: PruningVecEnv(generator, REQUESTS, 4, obs_mode=mode, first_controlled_stage=FIRST)
        for mode in ("vector", "vector_no_prompt")
    }
    seen = {}
    for mode, env in shown.items():
        env.seed(0)
        seen[mode] = dict(zip(env.core.observation.names, env.reset().T, strict=True))
        assert env.observation_space.shape == (len(seen[mode]),)
    left_out = set(seen["vector"]) - set(seen["vector_no_prompt"])
    assert left_out and all(name.startswith("text_") for name in left_out)
    assert not any(name.startswith("text_") for name in seen["vector_no_prompt"])
    for name, column in seen["vector_no_prompt"].items():
        np.testing.assert_array_equal(column, seen["vector"][name])
