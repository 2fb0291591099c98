import numpy as np
import pytest

from eval.front import (
    Front,
    at_budgets,
    hypervolume,
    interval,
    mix_front,
    oracle_front,
    resample_weights,
    upper_hull,
)

RANDOM = np.random.default_rng(0)
COMPUTE = np.sort(RANDOM.random((40, 9)), axis=1)
FIDELITY = RANDOM.random((40, 9))
LABELS = tuple("abcdefghi")


def point(compute, fidelity):
    return Front("point", np.array([[compute]]), np.array([[fidelity]]), ("a",))


def test_upper_hull_leaves_out_what_a_mix_beats():
    compute = np.array([0.0, 0.5, 1.0, 0.5, 0.25, 1.5, 0.0])
    fidelity = np.array([0.0, 0.8, 1.0, 0.4, 0.3, 1.0, -1.0])
    assert upper_hull(compute, fidelity) == [0, 1, 2]


def test_no_schedule_lies_above_the_hull():
    compute, fidelity = COMPUTE.mean(0), FIDELITY.mean(0)
    hull = upper_hull(compute, fidelity)
    front = Front("hull", compute[None, hull], fidelity[None, hull], tuple(map(str, hull)))
    assert (at_budgets(front, compute) >= fidelity - 1e-12).all()


def test_the_oracle_is_never_below_the_mix():
    training = Front("all", COMPUTE, FIDELITY, LABELS)
    mix = mix_front(training, COMPUTE, FIDELITY)
    oracle = oracle_front(COMPUTE, FIDELITY)
    budgets = np.linspace(mix.means()[0].min(), 1, 20)[1:]  # at the first both have one choice
    assert (at_budgets(oracle, budgets) > at_budgets(mix, budgets)).all()
    assert hypervolume(oracle) > hypervolume(mix)
    # without a price everybody gets the best schedule
    assert oracle.means()[1].max() == pytest.approx(FIDELITY.max(1).mean())


def test_requests_that_are_alike_leave_nothing_to_gain():
    compute, fidelity = np.repeat(COMPUTE[:1], 40, axis=0), np.repeat(FIDELITY[:1], 40, axis=0)
    mix = mix_front(Front("all", compute, fidelity, LABELS), compute, fidelity)
    oracle = oracle_front(compute, fidelity)
    budgets = np.linspace(mix.means()[0].min(), 1, 20)
    np.testing.assert_allclose(at_budgets(oracle, budgets), at_budgets(mix, budgets))


def test_a_mix_is_chosen_on_training_requests_alone():
    training = Front("all", COMPUTE[:20], FIDELITY[:20], LABELS)
    mix = mix_front(training, COMPUTE[20:], FIDELITY[20:])
    hull = upper_hull(COMPUTE[:20].mean(0), FIDELITY[:20].mean(0))
    assert mix.labels == tuple(LABELS[index] for index in hull)
    np.testing.assert_array_equal(mix.fidelity, FIDELITY[20:, hull])


def test_budgets_between_below_and_beyond_the_points():
    front = Front("f", np.array([[0.8, 0.4]]), np.array([[0.9, 0.5]]), ("a", "b"))
    found = at_budgets(front, [0.3, 0.4, 0.6, 0.9])
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [0.5, 0.7, 0.9])


def test_hypervolume_by_hand():
    assert hypervolume(point(0.25, 0.8)) == pytest.approx(0.75 * 0.8, abs=1e-3)
    both = Front("f", np.array([[0.5, 1.0]]), np.array([[0.5, 1.0]]), ("a", "b"))
    assert hypervolume(both) == pytest.approx(0.5 * 0.75, abs=1e-3)


def test_resamples():
    weights = resample_weights(40, 300, seed=1)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_array_equal(weights, resample_weights(40, 300, seed=1))
    front = Front("f", COMPUTE, FIDELITY, LABELS)
    values = at_budgets(front, [0.5], weights)
    assert values.shape == (300, 1)
    low, high = interval(values[:, 0])
    assert low < at_budgets(front, [0.5])[0] < high
    assert hypervolume(front, weights).shape == (300,)
    assert interval(np.array([1.0, np.nan])) is None


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="expected"):
        Front("f", COMPUTE, FIDELITY[:, :3], LABELS)
