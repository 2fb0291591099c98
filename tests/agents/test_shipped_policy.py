"""The policy that comes with the package: it fits the small model, and it adapts."""

import numpy as np
import pytest

from agents.parse_controller import parse_controller
from agents.rollout import run_controller
from infinity_backend.generator import InfinityGenerator
from infinity_backend.request import ImageRequest
from scenes.world import prompts


@pytest.fixture(scope="module")
def generator():
    return InfinityGenerator.from_pretrained("scenes")


def test_it_spends_less_at_a_larger_weight_and_not_the_same_on_every_prompt(generator):
    requests = [ImageRequest(s.caption, n) for n, s in enumerate(prompts("validation", 24))]
    spent = []
    for weight in (0.005, 0.03, 0.2):
        controller = parse_controller(f"policy:scenes@{weight}", generator, requests[0])
        results = list(run_controller(generator, controller, requests, 24))
        spent.append(np.array([1 - result.saved for result in results]))
    means = [each.mean() for each in spent]
    assert means[0] > means[1] > means[2]
    assert spent[1].std() > 0.03
