"""Several policies as one: its scores are the mean of theirs, whatever they were scaled by."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import prunegym
from agents.average_policies import average_policies
from agents.parse_controller import parse_controller
from agents.policy_file import load_policy, save_policy
from agents.rollout import run_controller
from base.errors import ConfigError
from tests.agents.test_policy_file import GENERATOR, MENU, REQUESTS, make_policy


def members(tmp_path, mode="discrete", menu=None, count=3):
    """Policies that differ in weights and in how they scale what they see."""
    rng, folders, policies = np.random.default_rng(0), [], []
    for seed in range(count):
        policy, definition = make_policy(mode, seed, menu)
        seen = rng.normal(seed, 1 + seed, (200, len(definition.observation))).astype(np.float32)
        policy.features_extractor.measure(seen)
        folders.append(tmp_path / f"seed{seed}" / "last")
        save_policy(folders[-1], policy, definition)
        policies.append(policy)
    return folders, policies


def scores_and_values(policy, observations):
    with torch.inference_mode():
        actor, critic = policy.mlp_extractor(policy.features_extractor(observations))
        return policy.action_net(actor), policy.value_net(critic)


@pytest.mark.parametrize(("mode", "menu"), [("discrete", MENU), ("box", None)])
def test_scores_and_values_are_the_mean(tmp_path, mode, menu):
    folders, policies = members(tmp_path, mode, menu)
    average_policies(folders, tmp_path / "mean")
    merged, definition, _ = load_policy(tmp_path / "mean", GENERATOR)
    assert definition.net_arch == (24, 12)
    observations = torch.randn(64, len(definition.observation))  # nowhere cut off
    each = [scores_and_values(policy, observations) for policy in policies]
    for found, expected in zip(
        scores_and_values(merged, observations), zip(*each, strict=True), strict=True
    ):
        assert torch.stack(expected).std(0).max() > 0.1
        torch.testing.assert_close(found, torch.stack(expected).mean(0), rtol=1e-4, atol=1e-5)


def test_a_policy_averaged_with_itself_decides_the_same(tmp_path, capsys):
    folders, _ = members(tmp_path, menu=MENU, count=1)
    out = tmp_path / "mean"
    assert (
        prunegym.main(["average", str(folders[0]), str(folders[0].parent), "--out", str(out)]) == 0
    )
    assert f"policy:{out}" in capsys.readouterr().out
    one, mean = (
        parse_controller(f"policy:{folder}", GENERATOR, REQUESTS[0]) for folder in (folders[0], out)
    )
    decisions = [
        [result.decisions for result in run_controller(GENERATOR, controller, REQUESTS)]
        for controller in (one, mean)
    ]
    assert decisions[0] == decisions[1]
    assert len({str(each) for each in decisions[0]}) > 1
    assert prunegym.main(["average", *map(str, folders * 2), "--out", str(out)]) == 2
    assert "holds a policy already" in capsys.readouterr().err


def test_what_cannot_be_averaged_is_named(tmp_path):
    folders, _ = members(tmp_path, count=1)
    policy, definition = make_policy("discrete")
    with pytest.raises(ConfigError, match="1 policy to average; expected two or more"):
        average_policies(folders, tmp_path / "mean")
    for change, told in (
        ({"preference": 0.7}, r"cannot be averaged: preference is 0\.7 and 0\.4"),
        ({"fingerprint": "other"}, "cannot be averaged: fingerprint is 'other' and"),
        ({"obs_mode": "v2"}, "looks at codes"),
        ({"net_arch": (8,)}, "has 1 hidden layers, .* 2"),
    ):
        save_policy(tmp_path / "other", policy, replace(definition, **change))
        with pytest.raises(ConfigError, match=told):
            average_policies([*folders, tmp_path / "other"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
