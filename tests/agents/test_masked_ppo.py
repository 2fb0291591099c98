"""MaskablePPO: no action is ever replaced, and its file serves as it was trained."""

import pytest

from agents.parse_controller import parse_controller
from agents.ppo import train
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from agents.rollout import run_controller
from base.errors import ConfigError
from envs import core
from envs.toy import ToyGenerator, ToyRequest

REQUESTS = [ToyRequest(index) for index in range(60)]
HELD_OUT = [ToyRequest(index) for index in range(1000, 1012)]
# guidance that was dropped stays dropped, and the first stage cannot be skipped
MENU = [{}, {"guidance": False}, {"prune_ratio": 0.7}, {"prune_ratio": 1.0}]


def settings(masked: bool) -> TrainSettings:
    return TrainSettings(
        environment=EnvironmentOptions(menu=MENU, first_controlled_stage=0),
        ppo=PPOSettings(total_episodes=96, num_envs=8, batch_size=16, masked=masked),
    )


@pytest.mark.parametrize("masked", [True, False])
def test_only_what_is_allowed_is_drawn(tmp_path, monkeypatch, masked):
    replaced = []
    original = core.permitted

    def watched(*arguments, **options):
        decisions, flags = original(*arguments, **options)
        replaced.extend(flags)
        return decisions, flags

    monkeypatch.setattr(core, "permitted", watched)
    # the input is standardised under random actions, which know no masks
    monkeypatch.setattr("agents.ppo.standardise_input", lambda *_: None)
    train(ToyGenerator(), REQUESTS, HELD_OUT, settings(masked), tmp_path)
    assert replaced and any(replaced) is not masked


def test_it_resumes_and_serves_from_its_file(tmp_path):
    def stop(progress):
        if progress.rollouts == 3:
            raise KeyboardInterrupt

    generator = ToyGenerator()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(generator, REQUESTS, HELD_OUT, settings(True), whole)
    with pytest.raises(KeyboardInterrupt):
        train(generator, REQUESTS, HELD_OUT, settings(True), parts, on_progress=stop)
    train(generator, REQUESTS, HELD_OUT, settings(True), parts, resume=True)
    decisions = []
    for folder in (whole, parts):
        controller = parse_controller(f"policy:{folder / 'last'}", generator, REQUESTS[0])
        controller.replacements = None  # an action that is forbidden would raise
        decisions.append([r.decisions for r in run_controller(generator, controller, HELD_OUT)])
    assert decisions[0] == decisions[1]


def test_a_box_has_no_masks(tmp_path):
    box = TrainSettings(
        environment=EnvironmentOptions(action_mode="box"), ppo=PPOSettings(masked=True)
    )
    with pytest.raises(ConfigError, match=r"ppo\.masked needs"):
        train(ToyGenerator(), REQUESTS, HELD_OUT, box, tmp_path)
