import json

import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.evaluation import evaluate_controller
from agents.parse_controller import parse_controller
from agents.policy_controller import PolicyController, count_actor_flops
from agents.policy_file import PolicyDefinition, load_policy, save_policy
from agents.rollout import run_controller
from agents.standardised_input import StandardisedInput
from base.errors import CheckpointError
from envs.observation import VectorObservation
from envs.references import ReferenceCache
from envs.toy import ToyGenerator, ToyRequest
from tests.agents.walk import walk

GENERATOR = ToyGenerator()
REQUESTS = [ToyRequest(index) for index in range(12)]


def make_policy(action_mode, seed=0, menu=None):
    encoder = VectorObservation(GENERATOR)
    definition = PolicyDefinition(
        fingerprint=GENERATOR.fingerprint,
        num_stages=GENERATOR.max_stages,
        observation=encoder.names,
        action_mode=action_mode,
        menu=tuple(menu or GENERATOR.decision_space.menu),
        first_controlled_stage=1,
        preference=0.4,
        net_arch=(8, 4),
    )
    torch.manual_seed(seed)
    policy = ActorCriticPolicy(
        encoder.space,
        definition.encoding(GENERATOR).space,
        lr_schedule=lambda _: 0.0,
        net_arch=[8, 4],
        features_extractor_class=StandardisedInput,
        ortho_init=False,  # large enough weights that actions differ between requests
    )
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(3)
    return policy, definition


MENU = (
    {"prune_ratio": 0.0, "guidance": True},
    {"prune_ratio": 0.0, "guidance": False},
    {"prune_ratio": 0.5, "guidance": True},
    {"prune_ratio": 1.0, "guidance": True},
)


@pytest.mark.parametrize(("mode", "menu"), [("discrete", None), ("discrete", MENU), ("box", None)])
def test_a_loaded_policy_decides_the_same(tmp_path, mode, menu):
    policy, definition = make_policy(mode, menu=menu)
    save_policy(tmp_path / "run" / "best", policy, definition)
    loaded, read, _ = load_policy(tmp_path / "run" / "best", GENERATOR)
    assert read.observation == definition.observation
    observations = np.stack([VectorObservation(GENERATOR).space.sample() for _ in range(50)])
    assert np.array_equal(
        policy.predict(observations, deterministic=True)[0],
        loaded.predict(observations, deterministic=True)[0],
    )
    controller = parse_controller(f"policy:{tmp_path / 'run'}", GENERATOR, REQUESTS[0])
    before = PolicyController("p", "p", policy, definition, GENERATOR)
    expected = [result.decisions for result in run_controller(GENERATOR, before, REQUESTS)]
    found = [result.decisions for result in run_controller(GENERATOR, controller, REQUESTS)]
    assert found == expected
    assert len({str(decisions) for decisions in found}) > 1


@pytest.mark.parametrize(("mode", "menu"), [("discrete", None), ("discrete", MENU), ("box", None)])
def test_service_is_what_the_environment_does(mode, menu):
    """The same policy, walked through the environment of training, decides and costs the same."""
    policy, definition = make_policy(mode, menu=menu)
    controller = PolicyController("p", "p", policy, definition, GENERATOR)
    cache = ReferenceCache()
    served = evaluate_controller(GENERATOR, controller, REQUESTS, cache, preference=0.4)
    summaries = walk(
        policy, GENERATOR, REQUESTS, cache, action_mode=mode, menu=menu, preference=0.4
    )
    asked = [len(result.decisions) - 1 for result in served.results]
    for row, result in enumerate(served.results):
        summary = summaries[result.request.key]
        for served_one, trained_one in zip(result.decisions, summary["decisions"], strict=True):
            # Float noise: rows that end shrink the batch of one but not of the other.
            assert served_one == trained_one | {
                "prune_ratio": pytest.approx(trained_one["prune_ratio"], abs=1e-6)
            }
        own_flops = asked[row] * controller.flops_per_decision
        assert result.cost_flops == pytest.approx(summary["cost_flops"] + own_flops)
        assert served.columns["return"][row] == pytest.approx(summary["return"])
        assert served.columns["ssim"][row] == pytest.approx(summary["ssim"])


def test_a_policy_is_charged_for_itself():
    policy, _ = make_policy("discrete")
    columns = len(VectorObservation(GENERATOR).names)
    assert count_actor_flops(policy) == 2 * (columns * 8 + 8 * 4 + 4 * 4)


class OtherWeights(ToyGenerator):
    def __init__(self):
        super().__init__()
        self.fingerprint = "other"


class MoreStages(OtherWeights):
    max_stages = 9


@pytest.mark.parametrize(
    ("generator", "names"),
    [
        (OtherWeights(), ["fingerprint", repr(GENERATOR.fingerprint), "'other'"]),
        (MoreStages(), ["number of stages", "is 5", "9"]),
    ],
)
def test_another_generator_is_refused_with_both_named(tmp_path, generator, names):
    save_policy(tmp_path, *make_policy("discrete"))
    with pytest.raises(CheckpointError) as caught:
        load_policy(tmp_path, generator)
    assert all(name in str(caught.value) for name in names)


def edit(folder, change):
    record = json.loads((folder / "policy.json").read_text())
    change(record)
    (folder / "policy.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record.update(format=1), "format 1"),
        (lambda record: record.pop("menu"), "lacks.*menu"),
        (lambda record: record.update(net_arch=[8, 5]), "does not fit"),
        (lambda record: record.update(menu=[{"prune_ratio": 7}]), "does not fit"),
        (lambda record: record.update(action_mode="telepathy"), "does not fit"),
        (lambda record: record.update(observation=["x"]), "observation"),
    ],
)
def test_changed_definitions_are_refused(tmp_path, change, words):
    save_policy(tmp_path, *make_policy("discrete"))
    edit(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        load_policy(tmp_path, GENERATOR)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    policy, definition = make_policy("discrete")
    with torch.no_grad():
        policy.action_net.bias[0] = float("nan")
    save_policy(tmp_path, policy, definition)
    with pytest.raises(CheckpointError, match="not finite"):
        load_policy(tmp_path, GENERATOR)


def test_cut_short_weights_are_refused(tmp_path):
    save_policy(tmp_path, *make_policy("discrete"))
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=file.name):
        parse_controller(f"policy:{tmp_path}", GENERATOR, REQUESTS[0])


def test_only_observations_that_differ_are_named(tmp_path):
    save_policy(tmp_path, *make_policy("discrete"))
    first, *rest = VectorObservation(GENERATOR).names
    edit(tmp_path, lambda record: record.update(observation=["gone", *rest]))
    words = rf"the other lacks is \('gone',\), that of this generator \('{first}',\)"
    with pytest.raises(CheckpointError, match=words):
        load_policy(tmp_path, GENERATOR)
    edit(tmp_path, lambda record: record.update(observation=[*rest, first]))
    with pytest.raises(CheckpointError, match="order of observations"):
        load_policy(tmp_path, GENERATOR)
