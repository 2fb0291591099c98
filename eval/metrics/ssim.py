"""Structural similarity (Wang et al. 2004), batched, equal to scikit-image in all three settings.

Sums are in float64: window variances are small differences of large numbers, and float32 would
leave errors of 1e-4 on smooth images.

Glossary of shapes: B images, P planes (a channel of an image each), H x W pixels, k taps of the
window.
"""

import itertools
import math

import torch

from base.errors import ConfigError, DataError

WINDOW_SIDES = {"gaussian11": 11, "uniform7": 7, "legacy3": 3}

_GAUSSIAN_SIGMA = 1.5
_LUMINANCE_CONSTANT = (0.01 * 255) ** 2
_CONTRAST_CONSTANT = (0.03 * 255) ** 2
# float64 values, each filtered four times over: what a processor's cache holds, and on a GPU
_VALUES_AT_A_TIME = (2**17, 2**24)


def ssim(
    images: torch.Tensor, references: torch.Tensor, window: str = "gaussian11"
) -> torch.Tensor:
    """Mean structural similarity of each pair, over the three channels and all whole windows.

    Args:
        images: [B, H, W, 3] uint8.
        references: [B, H, W, 3] uint8.
        window: `gaussian11` (sigma 1.5, population variance; what papers mean by SSIM), `uniform7`
            (scikit-image's default) or `legacy3` (what the predecessor reported). The uniform ones
            use the sample variance.

    Returns:
        [B] float64, at most 1.

    Raises:
        ConfigError: an unknown window.
        DataError: the shapes differ, or a side is shorter than the window.
    """
    if window not in WINDOW_SIDES:
        raise ConfigError(f"SSIM window is {window!r}; expected one of {list(WINDOW_SIDES)}")
    if images.shape != references.shape:
        raise DataError(f"images are {tuple(images.shape)}, references {tuple(references.shape)}")
    height, width = images.shape[1:3]
    if min(height, width) < WINDOW_SIDES[window]:
        raise DataError(
            f"images are {width}x{height}; SSIM with the window {window} needs both sides to be "
            f"{WINDOW_SIDES[window]} or more"
        )
    taps = _taps(window)
    sample_correction = 1.0 if window == "gaussian11" else len(taps) ** 2 / (len(taps) ** 2 - 1)
    x, y = (batch.permute(0, 3, 1, 2).flatten(0, 1) for batch in (images, references))
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)  # [3 B]
    rows, columns = height - len(taps) + 1, width - len(taps) + 1
    at_once = _VALUES_AT_A_TIME[x.device.type == "cuda"]
    planes, strip = max(1, at_once // (height * width)), max(len(taps) * 4, at_once // width)
    for top, first in itertools.product(range(0, rows, strip), range(0, len(x), planes)):
        part = slice(first, first + planes), slice(top, top + strip + len(taps) - 1)
        values = _ssim_map(x[part].double(), y[part].double(), taps, sample_correction)
        total[first : first + planes] += values.sum(dim=(1, 2))
    return total.view(-1, 3).sum(dim=1) / (3 * rows * columns)


def _taps(window: str) -> list[float]:
    side = WINDOW_SIDES[window]
    if window != "gaussian11":
        return [1 / side] * side
    weights = [math.exp(-0.5 * ((i - side // 2) / _GAUSSIAN_SIGMA) ** 2) for i in range(side)]
    return [weight / sum(weights) for weight in weights]


def _ssim_map(
    x: torch.Tensor, y: torch.Tensor, taps: list[float], sample_correction: float
) -> torch.Tensor:
    moments = torch.stack([x, y, x * x + y * y, x * y])  # [4, P, H, W]
    mean_x, mean_y, mean_squares, mean_xy = _filter(_filter(moments, taps, -2), taps, -1)
    squared_means, product = mean_x * mean_x + mean_y * mean_y, mean_x * mean_y
    variances = sample_correction * (mean_squares - squared_means)  # of x and y together
    covariance = sample_correction * (mean_xy - product)
    luminance = (2 * product + _LUMINANCE_CONSTANT) / (squared_means + _LUMINANCE_CONSTANT)
    contrast = (2 * covariance + _CONTRAST_CONSTANT) / (variances + _CONTRAST_CONSTANT)
    return luminance * contrast  # [P, H - k + 1, W - k + 1]


def _filter(planes: torch.Tensor, taps: list[float], axis: int) -> torch.Tensor:
    """Correlate along one axis, whole windows only. Shifted sums beat conv2d tenfold in float64."""
    length = planes.shape[axis] - len(taps) + 1
    total = planes.narrow(axis, 0, length) * taps[0]
    for offset, tap in enumerate(taps[1:], start=1):
        total.add_(planes.narrow(axis, offset, length), alpha=tap)
    return total
