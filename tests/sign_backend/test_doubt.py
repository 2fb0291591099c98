"""How sure the model is, and how far its embedding moves when half of the looks are left out."""

import logging

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from agents.controllers import FixedSchedule
from agents.rollout import run_controller
from envs.decision_table import load_table, save_table
from envs.references import ReferenceCache
from envs.tabulate import tabulate
from envs.tabulated import TableGenerator
from sign_backend.clip import Keypoints
from sign_backend.doubt import doubts
from sign_backend.generator import SignGenerator
from sign_backend.tracking_loss import TrackingLoss
from tests.sign_backend.sign_clips import made_up_request, small_model

ALL = np.arange(16)
MENU = [{"prune_ratio": 0.0}, {"prune_ratio": 0.5}]


class Observer(FixedSchedule):
    """Looks at the observation, and decides without it."""

    flops_per_decision = 100.0

    def decide(self, situation):
        """As the schedule."""
        assert situation.observe().shape[0] == len(situation.requests)
        return super().decide(situation)


@pytest.fixture(scope="module")
def generator():
    return SignGenerator(small_model(), TrackingLoss((-99.0, 0, 0, 0, 0, 0)), max_frames=120)


def moving(path):
    """[16] how far everything is to the right of where it began, as keypoints."""
    lot = np.random.default_rng(0)
    points = np.repeat(lot.uniform(0.2, 0.8, (1, 75, 3)), len(path), axis=0)
    points[:, 33:, 0] += np.asarray(path)[:, None] * lot.uniform(0.5, 1.5, 42)
    return Keypoints(points, 48, 64)


def test_what_lies_on_the_way_between_looks_changes_nothing():
    steady, jerky = moving(0.02 * ALL), moving(0.3 * (ALL % 2))
    looks = np.arange(15)  # the last one is looked at by half of them, too
    seen = [(Keypoints(clip.points[:15], 48, 64), looks) for clip in (steady, jerky)]
    found = doubts(small_model(), "CLS", seen)
    assert found.dtype == np.float32 and found[0, 1] < 0.05 < 0.2 < found[1, 1] <= 1


@pytest.mark.parametrize("kind", ["CLS", "spatial", "temporal", "logits", "softmax"])
def test_rows_do_not_hang_on_their_neighbours(kind):
    clips = [moving(0.02 * ALL), moving(0.1 * np.sin(ALL)), moving(0.05 * ALL[:8])]
    seen = list(zip(clips, [ALL[::3], ALL[::2], ALL[:8:3]], strict=True))
    together = doubts(small_model(), kind, seen)
    alone = [doubts(small_model(), kind, [pair])[0] for pair in seen]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_sure_model_has_no_doubt():
    model = small_model()
    with torch.no_grad():
        model.head.bias[3] = 50.0
    found = doubts(model, "CLS", [(moving(0.02 * ALL), ALL)])
    assert found[0, 0] == 0.0
    assert doubts(small_model(), "CLS", [(moving(0.02 * ALL), ALL)])[0, 0] > 0.5


def test_nothing_seen_is_all_doubt_and_costs_nothing(generator):
    state = generator.begin([made_up_request(0, 20)])
    assert generator.features(state)[0, -2:].tolist() == [1.0, 1.0]
    assert generator.feature_cost(state).tolist() == [0.0]


def test_joints_that_coincide_are_not_complained_of(caplog):
    clip = moving(0.02 * ALL)
    clip.points[3, 11] = clip.points[3, 12]
    with caplog.at_level(logging.WARNING):
        assert np.isfinite(doubts(small_model(), "CLS", [(clip, ALL)])).all()
    assert not caplog.records


def test_cost_is_what_a_counter_sees_and_does_not_grow_for_ever(generator):
    state = generator.begin([made_up_request(0, 120)])
    costs = []
    while not state.done.all():
        state = generator.advance(state, [{"prune_ratio": 0.5}])
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            generator.features(state)
        costs.append(generator.feature_cost(state)[0])
        assert counter.get_total_flops() == costs[-1]
    assert costs[0] < costs[6] < costs[7] == costs[8] == costs[13]


def test_only_who_observes_pays(generator):
    requests = [made_up_request(index, 20) for index in range(3)]
    blind = list(run_controller(generator, FixedSchedule("all:0.5"), requests))
    seeing = list(run_controller(generator, Observer("all:0.5"), requests))
    state, observed = generator.begin(requests), np.zeros(3)
    while not state.done.all():
        observed += generator.feature_cost(state) + Observer.flops_per_decision
        state = generator.advance(state, [{"prune_ratio": 0.5}] * 3)
    more = [one.cost_flops - other.cost_flops for one, other in zip(seeing, blind, strict=True)]
    np.testing.assert_allclose(more, observed, rtol=1e-6)
    assert [one.full_cost_flops for one in seeing] == [one.full_cost_flops for one in blind]


def test_a_table_charges_for_them_too(generator, tmp_path):
    requests = [made_up_request(index, 16) for index in range(3)]
    settings = {"batch_size": 2, "menu": MENU, "parts_folder": tmp_path / "parts"}
    for _ in range(2):  # the second time from its parts
        table = tabulate(generator, requests, ReferenceCache(), 2, **settings)
    tabulated = TableGenerator(load_table(save_table(tmp_path / "table.npz", table)))
    for controller in (FixedSchedule("all:0.5"), Observer("all:0.5")):
        live = run_controller(generator, controller, requests)
        looked_up = run_controller(tabulated, controller, tabulated.table.requests)
        costs = [[one.cost_flops for one in results] for results in (live, looked_up)]
        np.testing.assert_allclose(*costs, rtol=1e-9)
    # before anything was seen they cost nothing, and after the last window nobody asks
    assert (table.feature_costs > 0).tolist() == 3 * [[False, True, True, *4 * [False]]]
