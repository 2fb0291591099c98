import numpy as np
import pytest

from eval.front import (
    Front,
    at_budgets,
    best_by_class,
    best_mix,
    best_static,
    hypervolume,
    interval,
    oracle,
    resample_weights,
    select,
    upper_hull,
)

RANDOM = np.random.default_rng(0)
LABELS = tuple("abcdefghi")
COMPUTE = np.sort(RANDOM.random((40, 9)), axis=1)
SSIM = RANDOM.random((40, 9))
ALL = Front("all", LABELS, COMPUTE, {"ssim": SSIM, "psnr": 30 + SSIM})


def rows(front, which):
    figures = {name: values[which] for name, values in front.figures.items()}
    return Front(front.name, front.labels, front.compute[which], figures)


def one_request(compute, fidelity, **options):
    labels = LABELS[: len(compute)]
    return Front("f", labels, np.array([compute]), {"ssim": np.array([fidelity])}, **options)


def test_upper_hull_leaves_out_what_a_mix_beats():
    compute = np.array([0.0, 0.5, 1.0, 0.5, 0.25, 1.5, 0.0])
    fidelity = np.array([0.0, 0.8, 1.0, 0.4, 0.3, 1.0, -1.0])
    assert upper_hull(compute, fidelity) == [0, 1, 2]


def test_no_schedule_lies_above_the_best_mix():
    mix = best_mix(ALL, ALL)
    compute, fidelity = ALL.means("ssim")
    assert (at_budgets(mix, "ssim", compute) >= fidelity - 1e-12).all()


def test_static_schedules_wait_for_the_budget_of_the_next_one():
    schedules = one_request([0.2, 0.6, 0.7, 1.0], [0.5, 0.9, 0.8, 1.0])
    static = best_static(schedules, schedules)
    assert static.labels == ("a", "b", "d")
    found = at_budgets(static, "ssim", [0.1, 0.2, 0.59, 0.6, 0.99, 1.0])
    np.testing.assert_allclose(found, [np.nan, 0.5, 0.5, 0.9, 0.9, 1.0])


def test_a_class_gets_what_is_best_for_it_on_average():
    compute = np.tile([0.5, 1.0], (4, 1))
    ssim = np.array([[0.9, 0.9], [0.9, 0.9], [0.4, 0.9], [0.6, 0.9]])  # pays for class b only
    schedules = Front("s", ("short", "long"), compute, {"ssim": ssim})
    classes = ["a", "a", "b", "b"]
    found = best_by_class(schedules, classes, schedules, classes)
    assert at_budgets(found, "ssim", [0.75])[0] == pytest.approx(0.9)
    assert at_budgets(best_mix(schedules, schedules), "ssim", [0.75])[0] == pytest.approx(0.8)
    unseen = best_by_class(schedules, classes, schedules, ["c"] * 4)
    np.testing.assert_allclose(at_budgets(unseen, "ssim", [0.5, 0.75, 1.0]), [0.7, 0.8, 0.9])


def test_the_oracle_beats_the_mix_wherever_there_is_a_choice():
    mix, best = best_mix(ALL, ALL), oracle(ALL)
    budgets = np.linspace(mix.means("ssim")[0].min(), 1, 20)[1:]  # at the first there is none
    assert (at_budgets(best, "ssim", budgets) > at_budgets(mix, "ssim", budgets)).all()
    assert hypervolume(best, "ssim") > hypervolume(mix, "ssim")
    # without a price everybody gets the best schedule
    assert best.means("ssim")[1].max() == pytest.approx(SSIM.max(1).mean())
    np.testing.assert_allclose(best.figures["psnr"], 30 + best.figures["ssim"])


def test_requests_that_are_alike_leave_nothing_to_gain():
    alike = rows(ALL, np.zeros(40, int))
    mix, best = best_mix(alike, alike), oracle(alike)
    budgets = np.linspace(mix.means("ssim")[0].min(), 1, 20)
    np.testing.assert_allclose(at_budgets(best, "ssim", budgets), at_budgets(mix, "ssim", budgets))


def test_a_mix_is_chosen_on_training_requests_alone():
    training, measured = rows(ALL, slice(20)), rows(ALL, slice(20, 40))
    mix = best_mix(training, measured)
    hull = upper_hull(*training.means("ssim"))
    assert mix.labels == tuple(LABELS[index] for index in hull)
    np.testing.assert_array_equal(mix.figures["ssim"], SSIM[20:, hull])


def test_budgets_between_below_and_beyond_the_points():
    found = at_budgets(one_request([0.8, 0.4], [0.9, 0.5]), "ssim", [0.3, 0.4, 0.6, 0.9])
    np.testing.assert_allclose(found, [np.nan, 0.5, 0.7, 0.9])


def test_hypervolume_by_hand():
    assert hypervolume(one_request([0.25], [0.8]), "ssim") == pytest.approx(0.6, abs=2e-3)
    line = one_request([0.5, 1.0], [0.5, 1.0])
    assert hypervolume(line, "ssim") == pytest.approx(0.5 * 0.75, abs=2e-3)
    stairs = one_request([0.5, 1.0], [0.5, 1.0], mixes=False)
    assert hypervolume(stairs, "ssim") == pytest.approx(0.5 * 0.5, abs=2e-3)


def test_resamples():
    weights = resample_weights(40, 300, seed=1)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_array_equal(weights, resample_weights(40, 300, seed=1))
    values = at_budgets(ALL, "ssim", [0.5], weights)
    assert values.shape == (300, 1)
    low, high = interval(values[:, 0])
    assert low < at_budgets(ALL, "ssim", [0.5])[0] < high
    assert hypervolume(ALL, "ssim", weights).shape == (300,)
    assert interval(np.array([1.0, np.nan])) is None


def test_resamples_of_clusters():
    weights = resample_weights(25, 200, seed=1, cluster=10)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert (weights[:, :10] == weights[:, :1]).all() and (
        weights[:, 20:] == weights[:, 20:21]
    ).all()
    assert (weights[:, 9] != weights[:, 10]).any()
    values = np.repeat([0.0, 1.0], 10)  # two clusters, twenty requests
    few, many = (resample_weights(20, 2000, 0, cluster) @ values for cluster in (10, 1))
    assert few.std() == pytest.approx(np.sqrt(0.25 / 2), rel=0.1)
    assert many.std() == pytest.approx(np.sqrt(0.25 / 20), rel=0.1)


def test_selecting_for_each_request_its_own_point():
    leaves = np.arange(40)[:, None] % 9
    front = select(ALL, "own", leaves, ["own"])
    np.testing.assert_array_equal(front.compute[:, 0], COMPUTE[np.arange(40), leaves[:, 0]])
    with pytest.raises(ValueError, match="expected"):
        Front("f", LABELS, COMPUTE, {"ssim": SSIM[:, :3]})
