import numpy as np
import pytest

from scenes.gates import Gate, Report
from scenes.headroom import Leaves, frontier, oracle_gain
from scenes.measures import permuted, psnr, squared_error
from scenes.world import parse


def test_a_mix_lies_on_the_upper_hull():
    compute, quality = np.array([0.2, 0.4, 1.0]), np.array([20.0, 21.0, 40.0])
    assert frontier(compute, quality, 0.6) == pytest.approx(30.0)  # 0.2 and 1.0, half each
    assert frontier(compute, quality, 0.2) == pytest.approx(20.0)
    assert frontier(compute, quality, 0.1) == -np.inf


def test_an_oracle_gains_where_prompts_differ_and_not_where_they_are_alike():
    compute = np.array([[1.0, 0.0], [1.0, 0.0]])
    alike = Leaves(((0.0,), (1.0,)), compute, np.array([[1e-4, 1e-3], [1e-4, 1e-3]]))
    assert oracle_gain(alike, 0.5)["gain_db"] == pytest.approx(0.0, abs=1e-6)
    differ = Leaves(((0.0,), (1.0,)), compute, np.array([[1e-4, 1e-1], [1e-4, 1e-4]]))
    found = oracle_gain(differ, 0.5)
    assert found["mix_db"] == pytest.approx((40 + 25) / 2)
    assert found["oracle_db"] == pytest.approx(40.0)


def test_place_words_go_to_the_next_object_and_the_rest_stays():
    scene = parse(
        "a small plain blue circle at the top left and a large plain red cross at the bottom right "
        "on a plain green background"
    )
    assert permuted(scene).caption == (
        "a small plain blue circle at the bottom right and a large plain red cross at the top left "
        "on a plain green background"
    )


def test_errors_are_those_of_pixels_from_zero_to_one():
    black, white = np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4, 3), 255, np.uint8)
    assert squared_error(black, white).tolist() == [1.0]
    assert psnr(np.array([0.01, 0.0])).tolist() == pytest.approx([20.0, 50.0])


def test_a_missed_gate_shows_in_the_table_and_in_the_verdict():
    good, bad = Gate("colours", 0.97, 0.95), Gate("ms", 200.0, 150.0, at_most=True)
    assert Report("f", (good, Gate("note", 1.0))).passed
    report = Report("f", (good, bad))
    assert not report.passed
    assert "| ms | 200 | <= 150 | **missed** |" in report.table()
