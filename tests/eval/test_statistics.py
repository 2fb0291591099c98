import numpy as np
import pytest

from eval.statistics import bootstrap_interval, compare_pairs, summarise


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    samples = random.normal(5, 2, (200, 60))
    intervals = [bootstrap_interval(sample, resamples=300, seed=1) for sample in samples]
    covered = np.mean([low <= 5 <= high for low, high in intervals])
    assert 0.88 <= covered <= 0.99
    widths = [high - low for low, high in intervals]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / np.sqrt(60), rel=0.1)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(2).normal(size=30)
    assert bootstrap_interval(values, 200, seed=7) == bootstrap_interval(values, 200, seed=7)
    assert bootstrap_interval(values, 200, seed=7) != bootstrap_interval(values, 200, seed=8)


@pytest.mark.parametrize(("values", "resamples"), [([], 100), ([1.0], 100), ([1.0, 2.0], 0)])
def test_there_is_no_interval_of_too_little(values, resamples):
    assert bootstrap_interval(np.array(values), resamples, seed=0) is None


def test_a_summary_is_the_plain_statistics():
    summary = summarise(np.array([1.0, 2.0, 6.0]), resamples=100, seed=0)
    assert (summary["n"], summary["mean"], summary["median"]) == (3, 3.0, 2.0)
    assert summary["std"] == pytest.approx(np.sqrt((4 + 1 + 9) / 3))
    assert summary["ci95"][0] >= 1.0
    assert summary["ci95"][1] <= 6.0


def test_a_summary_of_nothing_is_none_and_never_zero():
    summary = summarise(np.array([]), resamples=100, seed=0)
    assert summary == {"n": 0, "mean": None, "std": None, "median": None, "ci95": None}


@pytest.mark.parametrize(("higher_is_better", "wins", "losses"), [(True, 2, 1), (False, 1, 2)])
def test_wins_follow_the_direction_of_the_figure(higher_is_better, wins, losses):
    candidate, baseline = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 2.0, 5.0])
    found = compare_pairs(candidate, baseline, higher_is_better, resamples=100, seed=0)
    assert (found["wins"], found["ties"], found["losses"]) == (wins, 1, losses)
    assert found["win_rate"] == (wins + 0.5) / 4
    assert found["mean_difference"] == 0.25


def test_pairs_are_compared_as_pairs():
    """A small steady gain is certain although the images differ far more than the gain."""
    baseline = np.random.default_rng(3).normal(0, 10, 50)
    found = compare_pairs(baseline + 0.5, baseline, True, resamples=300, seed=0)
    assert found["ci95"] == pytest.approx((0.5, 0.5))
    assert compare_pairs(np.array([]), np.array([]), True, 10, 0)["win_rate"] is None
