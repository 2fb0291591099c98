"""The rewards of the predecessor's three environments, as formulas.

They are kept for those who come from it, and reproduce its recorded traces; `pareto` is what this
project stands for. What they have in common: the last four stages are decided and rewarded, and the
picture after each of them is compared with the unpruned picture after the same stage.

A `place` is 0 to 3, counted so that 3 is the last stage: schedules of other lengths are mapped from
their end. A `ratio` is the share left out, 1 being skip.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PLACES = 4
LAST = PLACES - 1

V1_WEIGHTS = (0.18, 0.32, 0.47, 1.0)
V2_LATENCY_MS = (66.71, 91.40, 130.57, 268.93)  # of the whole stage, on the predecessor's card
V2_SKIP_MS = (20.29, 28.60, 49.43, 111.07)  # what a skip saves on top
V2_BETA = 1 / 380
V3_SLOPES = (0.0333, 0.0981, 0.0404, 0.1330)  # shares of the whole latency
V3_INTERCEPTS = (-0.0097, -0.0242, -0.0186, -0.0229)
V3_SKIPS = (0.0958, 0.1523, 0.1110, 0.2161)
V3_BETA = 1 / sum(V3_SKIPS)
ALPHA = {"v1": 1.0, "v2": 0.7, "v3": 0.7}


@dataclass(frozen=True)
class Terms:
    """The parts of one step's reward, by the predecessor's own names."""

    quality_score: float
    speed_score: float
    quality_reward: float
    speed_reward: float
    total_reward: float


def reward_v1(similarity: float, ratios: Sequence[float]) -> Terms:
    """Similarity (three times at the end) plus weighted ratio.

    Args:
        similarity: from 0 to 2, see `agreement`.
        ratios: of the places 0 up to the one that is rewarded.
    """
    place, ratio = len(ratios) - 1, ratios[-1]
    quality = similarity * (3 if place == LAST else 1)
    speed = ratio * V1_WEIGHTS[place] * (1.5 if ratio == 1 else 1)
    return Terms(quality, speed, quality, speed, quality + speed)


def reward_v2(similarity: float, ratios: Sequence[float]) -> Terms:
    """Quality, a cosine window over similarity, times what the milliseconds are worth.

    Args:
        similarity: from 0 to 1, the root of half of `agreement`.
        ratios: of the places 0 up to the one that is rewarded.
    """
    place, ratio, alpha = len(ratios) - 1, ratios[-1], ALPHA["v2"]
    speed = ratio * V2_LATENCY_MS[place] + (V2_SKIP_MS[place] if ratio == 1 else 0)
    window = min(max((similarity - 0.7) / (0.94 - 0.7), 0.0), 1.0)
    quality = (1 - math.cos(math.pi * window)) / 2
    total = quality * ((1 - alpha) + alpha * V2_BETA * speed)
    if place == LAST:
        total += alpha * quality
    return Terms(similarity, speed, quality, V2_BETA * speed, total)


def reward_v3(similarity: float, ratios: Sequence[float]) -> Terms:
    """Quality, a linear window over similarity, times the share of latency; all of it at the end.

    Args:
        similarity: from 0 to 1.
        ratios: of the places 0 up to the one that is rewarded.
    """
    speeds = [speed_v3(place, ratio) for place, ratio in enumerate(ratios)]
    last = len(ratios) - 1 == LAST
    quality = min(max((similarity - 0.94) / (0.985 - 0.94), 0.0), 1.0)
    speed_reward = V3_BETA * (sum(speeds) if last else speeds[-1])
    total = quality * ((1 - ALPHA["v3"]) + ALPHA["v3"] * speed_reward) * (1 if last else 0.25)
    return Terms(similarity, speeds[-1], quality, speed_reward, total)


def speed_v3(place: int, ratio: float) -> float:
    """The share of the latency that this ratio was fitted to save; negative where it is small."""
    if ratio <= 0:
        return 0.0
    if ratio >= 1:
        return V3_SKIPS[place]
    return V3_SLOPES[place] * ratio + V3_INTERCEPTS[place]


def agreement(structure: float, distance: float) -> float:
    """How alike two pictures are, from 0 to 2; both figures are cut to 0 to 1.

    Args:
        structure: MS-SSIM.
        distance: LPIPS.
    """
    return _unit(structure) ** 2 + (1 - _unit(distance)) ** 2


def similarity_v2(structure: float, distance: float) -> float:
    """The same from 0 to 1."""
    return math.sqrt(agreement(structure, distance) / 2)


def similarity_v3(distance: float) -> float:
    """From 0 to 1, of DreamSim's distance."""
    return _unit(1 - distance)


def psnr_of_unit_images(squared_error: float) -> float:
    """PSNR in dB as the predecessor logs it: 100 below a mean squared error of 1e-8.

    Args:
        squared_error: mean over pixels and channels, values from 0 to 1.
    """
    return 100.0 if squared_error < 1e-8 else -10 * math.log10(squared_error)


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


FORMULAS: dict[str, Callable[[float, Sequence[float]], Terms]] = {
    "v1": reward_v1,
    "v2": reward_v2,
    "v3": reward_v3,
}
