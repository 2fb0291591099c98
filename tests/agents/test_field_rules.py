"""The rules of the field as controllers: named schedules, guidance dropped, SkipVAR."""

from typing import Any

import numpy as np
import pytest

from agents.parse_controller import parse_controller
from agents.rollout import run_controller
from agents.schedules import NAMED, named_schedule, parse_schedule
from agents.skipvar import DecisionModel
from base.decisions import SKIP
from base.errors import ConfigError
from envs.toy import ToyGenerator, ToyRequest
from infinity_backend.generator import InfinityGenerator
from tests.infinity_backend.tiny import requests, tiny_generator

SIDES = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64]
OFFICIAL = [f"{side}x{side}" for side in SIDES]


@pytest.fixture(scope="module")
def generator() -> InfinityGenerator:
    return tiny_generator()


def decisions(generator: InfinityGenerator, text: str, count: int = 2) -> list[list[Any]]:
    """Per request, (ratio, guidance) of every stage under the controller that the text names."""
    controller = parse_controller(text, generator, requests(1)[0])
    return [
        [(decision["prune_ratio"], decision["guidance"]) for decision in result.decisions]
        for result in run_controller(generator, controller, requests(count))
    ]


@pytest.mark.parametrize("name", NAMED)
def test_named_schedules_fit_every_number_of_stages(name: str) -> None:
    tail = NAMED[name]
    for count in range(1, 14):
        ratios = named_schedule(name, count)
        assert len(ratios) == count and ratios[0] == 0.0
        both = min(len(tail), count - 1)
        assert ratios[count - both :] == tail[len(tail) - both :]


def test_named_schedules_on_the_official_scales() -> None:
    text = "32:0.4,40:0.5,48:1.0,64:1.0"
    assert parse_schedule("fastvar_default", OFFICIAL) == parse_schedule(text, OFFICIAL)
    assert parse_schedule("seed_tail6", OFFICIAL)[7:] == (0.3, 0.4, 1.0, 1.0, 0.8, 1.0)
    for side in (2, 8, 20):
        assert parse_schedule(f"skip_from{side}", OFFICIAL).index(SKIP) == SIDES.index(side)
    with pytest.raises(ConfigError, match="or one of fastvar_default"):
        parse_schedule("fastvar", OFFICIAL)


def test_a_named_schedule_is_a_controller(generator: InfinityGenerator) -> None:
    assert decisions(generator, "schedule:fastvar_default")[0] == [
        (ratio, True) for ratio in (0.0, 0.4, 0.5, SKIP, SKIP)
    ]


def test_guidance_is_off_in_the_last_stages(generator: InfinityGenerator) -> None:
    taken = decisions(generator, "schedule:v3_light+no_guidance:3")
    assert taken[0] == [(0.0, True), (0.0, True), (0.0, False), (0.1, False), (0.2, False)]
    costs = []
    for text in ("none", "none+no_guidance:1", "none+no_guidance:2"):
        controller = parse_controller(text, generator, requests(1)[0])
        costs.append(next(run_controller(generator, controller, requests(1))).cost_flops)
    assert costs[0] > costs[1] > costs[2]
    assert controller.identity == controller.name == "none+no_guidance:2"


def test_guidance_is_off_once_the_codes_are_calm(generator: InfinityGenerator) -> None:
    dense = decisions(generator, "none+calm:0.000001")
    assert all(guidance for row in dense for _, guidance in row)
    at_once = decisions(generator, "schedule:si=2:1.0+calm:1000")
    assert at_once[0] == [(0.0, True), (0.0, False), (SKIP, False), (0.0, False), (0.0, False)]


def test_wrong_endings_and_generators_are_refused(generator: InfinityGenerator) -> None:
    request = requests(1)[0]
    for text in ("none+no_guidance:0", "none+no_guidance:two", "none+calm:0", "none+calm:nan"):
        with pytest.raises(ConfigError, match=r"\+no_guidance:K with a number of stages"):
            parse_controller(text, generator, request)
    toy = ToyGenerator()
    with pytest.raises(ConfigError, match="no detail_features"):
        parse_controller("skipvar", toy, ToyRequest(0, 0))
    with pytest.raises(ConfigError, match="no SkipVAR set 'ssim_99'; known are ssim_84"):
        parse_controller("skipvar:ssim_99", generator, request)


def test_late_stages_are_reduced_as_a_whole(generator: InfinityGenerator) -> None:
    taken = decisions(generator, "stagevar:0.6")[0]
    assert taken == [(0.0, True)] * 3 + [(0.6, False)] * 2  # 4/13 of five stages
    assert parse_controller("stagevar", generator, requests(1)[0]).name == "stagevar:0.5"
    for text in ("stagevar:1", "stagevar:nan", "stagevar:x"):
        with pytest.raises(ConfigError, match="stagevar"):
            parse_controller(text, generator, requests(1)[0])


def test_skipvar_acts_on_its_two_classes() -> None:
    model = DecisionModel.load("ssim_84")
    seen = set()
    for change in np.linspace(0.0, 0.5, 21):
        for share in np.linspace(0.2, 0.9, 15):
            features = np.array([change, share])
            skipped = model.classify("skip", features)
            bare = 0 if skipped else model.classify("uncond", features)
            tail = model.tail(features)
            assert sum(decision["prune_ratio"] == SKIP for decision in tail) == skipped
            assert [decision["guidance"] for decision in tail] == [n > bare for n in (3, 2, 1)]
            seen.add((skipped, bare))
    assert {skipped for skipped, _ in seen} == {0, 1, 2, 3} and len(seen) >= 5


def test_skipvar_decides_once_and_is_charged(generator: InfinityGenerator) -> None:
    controller = parse_controller("skipvar", generator, requests(1)[0])
    assert controller.first_controlled_stage == 2 and controller.name == "skipvar:ssim_84"
    state = generator.begin(requests(3))
    for _ in range(2):
        state = generator.advance(state, [{}] * 3)
    results = run_controller(generator, controller, requests(3))
    for result, features in zip(results, generator.detail_features(state), strict=True):
        expected = [d["prune_ratio"] for d in DecisionModel.load("ssim_84").tail(features)]
        assert [decision["prune_ratio"] for decision in result.decisions[2:]] == expected
        paid = generator.fixed_cost(result.request) + sum(result.stage_costs_flops)
        assert result.cost_flops - paid == pytest.approx(generator.detail_features_flops)
