import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.evaluation import evaluate_controller
from agents.parse_controller import parse_controller
from agents.ppo import train
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from agents.tensor_record import read_tensor_record
from base.errors import CheckpointError, ConfigError
from envs.references import ReferenceCache
from envs.toy import ToyGenerator, ToyRequest

GENERATOR = ToyGenerator()
REQUESTS = [ToyRequest(index) for index in range(60)]
HELD_OUT = [ToyRequest(index) for index in range(1000, 1012)]
# Ragged episodes end at any step, so rollouts end in the middle of some: the hard case.
SHORT = TrainSettings(
    environment=EnvironmentOptions(preference=(0.2, 0.8)),
    ppo=PPOSettings(total_episodes=48, num_envs=4, rollout_episodes=2, num_epochs=2, batch_size=16),
    seed=3,
    evaluate_every=2,
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(folder, settings=SHORT, **options):
    return train(GENERATOR, REQUESTS, HELD_OUT, settings, folder, **options)


def final_state(folder):
    """Everything that a checkpoint holds: weights, optimizer, random states, counters."""
    record, tensors, _ = read_tensor_record(folder, "checkpoint")
    return record, {name: tensor.numpy() for name, tensor in tensors.items()}


def assert_same_run(one, other):
    (record, tensors), (other_record, other_tensors) = final_state(one), final_state(other)
    assert record == other_record
    assert tensors.keys() == other_tensors.keys()
    for name in tensors:
        assert np.array_equal(tensors[name], other_tensors[name]), name
    for part in ("best", "last"):
        weights = [
            json.loads((f / part / "policy.json").read_text())["weights"] for f in (one, other)
        ]
        assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    torch.set_num_threads(1)
    result = run(folder)
    assert result.finished
    return folder


def test_a_run_leaves_what_it_promises(uninterrupted):
    names = {path.name for path in uninterrupted.iterdir()}
    assert {"best", "last", "checkpoint.json", "evaluations.json", "tensorboard"} <= names
    evaluations = json.loads((uninterrupted / "evaluations.json").read_text())
    assert [entry["steps"] for entry in evaluations] == [0, 64, 128, 192]
    assert all(0 <= entry["saved"] < 1 and 0 < entry["ssim"] <= 1 for entry in evaluations)
    events = EventAccumulator(str(uninterrupted / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"rollout/return", "rollout/saved", "rollout/psnr", "evaluation/return"} <= set(
        tags["scalars"]
    )
    assert {"evaluation/ssim", "time/steps_per_second", "train/loss"} <= set(tags["scalars"])
    assert {"evaluation_ratio/16x16", "rollout_ratio/stage_02"} <= set(tags["histograms"])
    assert tags["images"] == ["evaluation/samples"]
    assert [event.step for event in events.Scalars("evaluation/return")] == [0, 64, 128, 192]


def test_the_same_seed_gives_the_same_run(uninterrupted, tmp_path):
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    run(tmp_path)
    assert_same_run(uninterrupted, tmp_path)


def test_another_seed_gives_another_run(uninterrupted, tmp_path):
    run(tmp_path, TrainSettings(SHORT.environment, SHORT.ppo, seed=4, evaluate_every=2))
    ours, theirs = final_state(tmp_path)[1], final_state(uninterrupted)[1]
    assert not np.array_equal(ours["policy/action_net.weight"], theirs["policy/action_net.weight"])


def test_a_signal_stops_and_resuming_ends_with_the_same_weights(uninterrupted, tmp_path):
    def stop_after_three(progress):
        if progress.rollouts == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    result = run(tmp_path, on_progress=stop_after_three)
    assert not result.finished
    assert signal.getsignal(signal.SIGTERM) == before
    random.seed(99)  # whatever happens between the two must not matter
    np.random.seed(99)
    torch.manual_seed(99)
    assert run(tmp_path, resume=True).finished
    assert_same_run(uninterrupted, tmp_path)
    steps = [
        event.step
        for event in EventAccumulator(str(tmp_path / "tensorboard"))
        .Reload()
        .Scalars("rollout/return")
    ]
    assert steps == [32, 64, 96, 128, 160, 192]


def test_a_signal_during_the_first_evaluation_loses_nothing(uninterrupted, tmp_path, monkeypatch):
    def stop_now(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("agents.ppo.log_evaluation", stop_now)
    assert not run(tmp_path).finished
    monkeypatch.undo()
    assert run(tmp_path, resume=True).finished
    assert_same_run(uninterrupted, tmp_path)


def test_evaluating_on_training_prompts_is_told(tmp_path, caplog):
    train(GENERATOR, REQUESTS, [ToyRequest(5, seed=9)], SHORT, tmp_path)
    assert "such as 'toy 5'" in caplog.text


KILLED = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.agents import test_ppo
test_ppo.run(Path(sys.argv[1]), on_progress=lambda progress: time.sleep(0.05))
"""


@pytest.mark.parametrize("at_rollout", [0, 3])
def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_weights(
    uninterrupted, tmp_path, at_rollout
):
    root = Path(__file__).parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    checkpoint = tmp_path / "checkpoint.json"
    for _ in range(2000):
        if checkpoint.exists():
            record = json.loads(checkpoint.read_text())
            if record["progress"]["rollouts"] >= at_rollout:
                break
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.03)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert json.loads(checkpoint.read_text())["progress"]["rollouts"] < 6
    assert run(tmp_path, resume=True).finished
    assert_same_run(uninterrupted, tmp_path)


def test_training_learns_to_spend_where_the_detail_is(tmp_path):
    settings = TrainSettings(
        environment=EnvironmentOptions(preference=0.35),
        ppo=PPOSettings(total_episodes=1200),
        evaluate_every=100,
    )
    requests = [ToyRequest(index) for index in range(300)]
    held_out = [ToyRequest(index) for index in range(1000, 1060)]
    run_it = train(GENERATOR, requests, held_out, settings, tmp_path)
    learned = run_it.evaluations[-1]["return"]
    cache = ReferenceCache()
    for rule in ("none", "random", "schedule:tail=[1]", "schedule:tail=[0.4,0.4]"):
        controller = parse_controller(rule, GENERATOR, held_out[0])
        fixed = evaluate_controller(GENERATOR, controller, held_out, cache, preference=0.35)
        assert learned > fixed.means["return"] + 0.01, rule


def test_a_folder_with_a_run_is_not_overwritten(uninterrupted):
    with pytest.raises(ConfigError, match="--resume"):
        run(uninterrupted)


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint\.json"):
        run(tmp_path, resume=True)


def test_resuming_with_other_settings_is_refused_with_both_named(uninterrupted):
    other = TrainSettings(SHORT.environment, PPOSettings(total_episodes=48), seed=3)
    with pytest.raises(
        ConfigError, match=r"ppo\.batch_size = 16; now ppo\.batch_size is 64|evaluate"
    ):
        run(uninterrupted, other, resume=True)


def test_a_damaged_checkpoint_names_the_one_before(tmp_path):
    run(tmp_path)
    record = json.loads((tmp_path / "checkpoint.json").read_text())
    file = tmp_path / record["weights"]["file"]
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cut short.*checkpoint-previous\.json"):
        run(tmp_path, resume=True)
    (tmp_path / "checkpoint-previous.json").replace(tmp_path / "checkpoint.json")
    assert run(tmp_path, resume=True).finished


def test_one_folder_has_one_writer(tmp_path):
    def second(progress):
        with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
            run(tmp_path, resume=True)

    run(tmp_path, on_progress=second)


@pytest.mark.parametrize(
    "options",
    [
        {"ppo": PPOSettings(total_episodes=0)},
        {"ppo": PPOSettings(batch_size=1)},
        {"evaluate_every": 0},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_be_used(options):
    with pytest.raises(ConfigError, match="expected"):
        TrainSettings(**options)
