"""Keeping a figure at a level: the weight moves, training meets the level, resume is exact."""

import json

import numpy as np
import pytest
import torch

from agents.constraint import Constraint, ConstraintOptions
from agents.ppo import train
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from base.errors import ConfigError
from commands import train as train_command
from envs.toy import ToyGenerator, ToyRequest
from tests.agents.test_ppo import assert_same_run
from tests.conformance.predecessor_model import MeanDifference

GENERATOR = ToyGenerator()
REQUESTS = [ToyRequest(index) for index in range(300)]
HELD_OUT = [ToyRequest(index) for index in range(1000, 1030)]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_weight_moves_by_the_damage_that_is_left():
    constraint = Constraint(ConstraintOptions(target=0.9, preference=0.5, rate=0.2), falls=False)
    assert constraint.preference == pytest.approx(0.5)
    constraint.learn(0.95)  # half of the damage is unused
    assert constraint.price == pytest.approx(0.1)
    constraint.learn(0.9)  # just met
    assert constraint.price == pytest.approx(0.1)
    constraint.learn(0.0)  # ten times too much moves no further than twice too much
    assert constraint.price == pytest.approx(-0.1)
    for _ in range(1000):
        constraint.learn(0.0)
    assert 0 < constraint.preference < 0.002
    assert constraint.score({"ssim": 0.9, "saved": 0.3}) == 0.3
    bad, worse = ({"ssim": ssim, "saved": 0.9} for ssim in (0.85, 0.8))
    assert -1 > constraint.score(bad) > constraint.score(worse)
    with pytest.raises(ConfigError, match=r"'ssim'; the figures are saved\. Add it"):
        constraint.score({"saved": 0.1})


def test_a_figure_that_falls_is_kept_below():
    constraint = Constraint(ConstraintOptions("lpips", 0.1, preference=0.5), falls=True)
    constraint.learn(0.2)
    assert constraint.preference < 0.5
    assert constraint.score({"lpips": 0.05, "saved": 0.4}) == 0.4


@pytest.mark.parametrize(
    "options", [{"target": 1.0}, {"target": -0.1}, {"preference": 0.0}, {"rate": 0.0}]
)
def test_what_cannot_be_asked(options):
    with pytest.raises(ConfigError, match="expected"):
        Constraint(ConstraintOptions(**options), falls=False)


def settings(target):
    return TrainSettings(
        environment=EnvironmentOptions(),
        ppo=PPOSettings(total_episodes=640),
        evaluate_every=5,
        constraint=ConstraintOptions(target=target, preference=0.5, rate=0.3),
    )


def test_training_meets_the_level_and_uses_it(tmp_path):
    """Two whole trainings: slow, but nothing less shows that the weight settles."""
    saved = {}
    for target in (0.8, 0.95):
        result = train(GENERATOR, REQUESTS, HELD_OUT, settings(target), tmp_path / str(target))
        met = [entry for entry in result.evaluations if entry["ssim"] >= target]
        saved[target] = max(entry["saved"] for entry in met)
        best = json.loads((tmp_path / str(target) / "best" / "policy.json").read_text())
        assert best["preference"] in [entry["preference"] for entry in result.evaluations]
        assert max(entry["return"] for entry in result.evaluations) == saved[target]
    assert saved[0.8] > saved[0.95] + 0.1  # what is allowed is used
    assert saved[0.95] > 0.1


def test_lpips_as_the_level(tmp_path):
    scorers = [MeanDifference("lpips")]
    options = {"scorers": scorers, "environment_scorers": scorers}
    short = TrainSettings(
        ppo=PPOSettings(total_episodes=96),
        constraint=ConstraintOptions("lpips", 0.02, preference=0.9, rate=0.5),
    )
    result = train(GENERATOR, REQUESTS, HELD_OUT, short, tmp_path, **options)
    assert result.evaluations[0]["lpips"] > 0.02  # where it started it was broken
    assert result.evaluations[-1]["preference"] < 0.9  # so the weight went down
    with pytest.raises(ConfigError, match=r"fidelity is 'lpips'|constraint\.figure"):
        train(GENERATOR, REQUESTS, HELD_OUT, short, tmp_path / "other")


def test_a_stopped_run_goes_on_exactly(tmp_path):
    short = TrainSettings(
        ppo=PPOSettings(
            total_episodes=48, num_envs=4, rollout_episodes=2, num_epochs=2, batch_size=16
        ),
        evaluate_every=2,
        constraint=ConstraintOptions(target=0.9, rate=0.5),
    )

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.rollouts == 3:
            raise StoppedError

    train(GENERATOR, REQUESTS, HELD_OUT, short, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(GENERATOR, REQUESTS, HELD_OUT, short, tmp_path / "parts", on_progress=stop)
    np.random.seed(99)
    train(GENERATOR, REQUESTS, HELD_OUT, short, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    price = json.loads((tmp_path / "whole" / "checkpoint.json").read_text())["progress"]["price"]
    assert price != ConstraintOptions().preference


def test_from_the_command_line(tmp_path, capsys):
    arguments = ["--generator", "toy", "--prompts", "toy:train:60", "--run-dir", str(tmp_path)]
    arguments += ["--evaluation-prompts", "toy:validation:12", "--ppo.total_episodes", "32"]
    arguments += ["--constraint.target", "0.9", "--constraint.preference", "0.3"]
    assert train_command.main(arguments) == 0
    assert "preference" in capsys.readouterr().out
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["constraint.target"] == 0.9 and config["constraint.figure"] == "ssim"
