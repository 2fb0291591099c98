"""Means with bootstrap confidence intervals, and paired comparisons of two candidates.

Everything is paired: an image counts for every folder or for none, so that a difference of means
is never a difference of subsets.
"""

from typing import Any

import numpy as np

_VALUES_AT_A_TIME = 2**20  # bounds the memory of resampling


def bootstrap_interval(
    values: np.ndarray, resamples: int, seed: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Percentile interval of the mean, from resampling images with replacement.

    Args:
        values: [n] finite numbers, one an image.
        resamples: how many times.
        seed: same seed, same interval.
        confidence: the share of resampled means inside.

    Returns:
        (low, high), or None for fewer than two images or no resamples.
    """
    if len(values) < 2 or resamples < 1:
        return None
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _VALUES_AT_A_TIME // len(values))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        rows = random.integers(0, len(values), (count, len(values)))
        means[start : start + count] = values[rows].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def summarise(values: np.ndarray, resamples: int, seed: int) -> dict[str, Any]:
    """Count, mean, population standard deviation, median and 95 % interval of the mean of [n].

    Without values everything but the count is None.
    """
    if len(values) == 0:
        return {"n": 0, "mean": None, "std": None, "median": None, "ci95": None}
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "median": float(np.median(values)),
        "ci95": bootstrap_interval(values, resamples, seed),
    }


def compare_pairs(
    candidate: np.ndarray,
    baseline: np.ndarray,
    higher_is_better: bool,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Compare two candidates on the same images, [n] each.

    Returns:
        The mean of candidate - baseline with its 95 % interval, how many images the candidate wins,
        ties and loses, and `win_rate`: wins and half of the ties, as a share.
    """
    difference = candidate - baseline
    gain = difference if higher_is_better else -difference
    wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
    ties = len(gain) - wins - losses
    return {
        "n": len(gain),
        "mean_difference": float(difference.mean()) if len(gain) else None,
        "ci95": bootstrap_interval(difference, resamples, seed),
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "win_rate": (wins + ties / 2) / len(gain) if len(gain) else None,
    }
