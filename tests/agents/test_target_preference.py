"""Weights for targets: bisection on any monotone policy, and what is kept beside it."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from agents.policy_controller import PolicyController
from agents.policy_file import save_policy
from agents.target_preference import NAME, Calibration, Target, find_preference
from base.errors import ConfigError
from envs.references import ReferenceCache
from envs.toy import ToyGenerator, ToyRequest
from tests.agents.test_policy_file import make_policy

GENERATOR = ToyGenerator()
REQUESTS = [ToyRequest(index) for index in range(8)]


def smooth(weight: float) -> dict[str, float]:
    return {"saved": weight**0.5, "ssim": 1 - weight**2}


def test_the_weight_just_reaches_the_target():
    saving = find_preference(smooth, 0.1, 0.9, Target("saved", 0.6))
    assert 0.36 <= saving < 0.37 and smooth(saving)["saved"] >= 0.6
    fidelity = find_preference(smooth, 0.1, 0.9, Target("ssim", 0.5))
    assert 0.7 < fidelity <= 0.5**0.5 and smooth(fidelity)["ssim"] >= 0.5


def test_ends_of_the_range_and_steps():
    assert find_preference(smooth, 0.1, 0.9, Target("saved", 0.2)) == pytest.approx(0.1)
    assert find_preference(smooth, 0.1, 0.9, Target("ssim", 0.1)) == pytest.approx(0.9)
    stairs = lambda weight: {"saved": float(np.floor(weight * 4) / 4)}  # noqa: E731
    found = find_preference(stairs, 0.0, 1.0, Target("saved", 0.5))
    assert 0.5 <= found < 0.51
    assert find_preference(smooth, 0.3, 0.3, Target("saved", 0.5)) == 0.3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target("saved", 0.99), r"saved 0\.99.*0\.1 to 0\.9.*the most is 0\.9487"),
        (Target("ssim", 0.999), r"the most is 0\.99"),
        (Target("clip", 0.3), "no figure 'clip'"),
    ],
)
def test_out_of_reach(target, message):
    with pytest.raises(ConfigError, match=message):
        find_preference(smooth, 0.1, 0.9, target)


class Counting(ToyGenerator):
    """Counts batches."""

    begun = 0

    def begin(self, requests):
        type(self).begun += 1
        return super().begin(requests)


def test_measured_once_and_kept_beside_the_policy(tmp_path, caplog):
    policy, definition = make_policy("discrete")
    definition = replace(definition, preference=(0.2, 0.8))
    save_policy(tmp_path, policy, definition)
    generator, references = Counting(), ReferenceCache()

    def calibration(identity="policy 1", requests=REQUESTS):
        controller = PolicyController("p", identity, policy, definition, generator)
        return Calibration(controller, tmp_path, generator, requests, references)

    means = calibration().means(0.5)
    begun = Counting.begun
    assert calibration().means(0.5) == means and Counting.begun == begun
    calibration().means(0.6)
    calibration("policy 2").means(0.5)
    calibration(requests=REQUESTS[:4]).means(0.5)
    assert Counting.begun == begun + 3  # each of these is another measurement
    assert len(json.loads((tmp_path / NAME).read_text())) == 3
    (tmp_path / NAME).write_text("{ damaged")
    with caplog.at_level(logging.WARNING):
        assert calibration().means(0.5) == means
    assert "made again" in caplog.text
