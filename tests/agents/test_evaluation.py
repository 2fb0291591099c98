import numpy as np
import pytest
import torch

from agents.controllers import NoPruning
from agents.evaluation import evaluate_controller
from agents.parse_controller import parse_controller
from envs.references import ReferenceCache
from envs.toy import ToyGenerator, ToyRequest

GENERATOR = ToyGenerator()
REQUESTS = [ToyRequest(index) for index in range(9)]


class TenMsAStage:
    """A latency table by a formula: a stage takes 10 ms, less its ratio."""

    def latency_ms(self, request, decisions, asked=0):
        return sum(10 * (1 - decision["prune_ratio"]) for decision in decisions)


class MeanDifference:
    name = "difference"
    higher_is_better = False
    minimum_side = 1

    def __call__(self, images, references, prompts):
        assert prompts == [request.label for request in REQUESTS]
        assert images.dtype == references.dtype == torch.uint8
        return (images.float() - references.float()).abs().mean((1, 2, 3))


def evaluate(controller, **options):
    return evaluate_controller(
        GENERATOR, controller, REQUESTS, ReferenceCache(), preference=0.25, **options
    )


def test_nothing_pruned_is_the_reference():
    evaluation = evaluate(NoPruning(), scorers=[MeanDifference()], latency_table=TenMsAStage())
    assert evaluation.means == {
        "return": 0.75,
        "saved": 0.0,
        "ssim": pytest.approx(1.0),
        "psnr": 50.0,
        "latency_saved_ms": 0.0,
        "difference": 0.0,
    }


def test_figures_of_a_schedule_add_up():
    rule = parse_controller("schedule:tail=[0.4,1]", GENERATOR, REQUESTS[0])
    evaluation = evaluate(rule, scorers=[MeanDifference()], latency_table=TenMsAStage())
    columns = evaluation.columns
    assert np.allclose(columns["latency_saved_ms"], 14.0)
    assert np.allclose(columns["return"], 0.25 * columns["saved"] + 0.75 * columns["ssim"])
    assert columns["difference"].max() > 0
    assert evaluation.ratios()["16x16"] == [1.0] * 9
    assert evaluation.ratios()["8x8"] == [0.4] * 9
    assert set(evaluation.ratios()["4x4"]) == {0.0}
