"""How close an output is to its reference, for each kind of output that a generator can make.

This is all that the environment knows of the evaluation: rewards and claims rest on the primary
figure of the kind, and must point the same way on the others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from base.errors import ConfigError, DataError
from eval.metrics.pixels import psnr
from eval.metrics.ssim import ssim

PRIMARY: dict[str, str] = {"image": "ssim", "tokens": "agreement", "embedding": "cosine"}

PSNR_CAP_DB = (
    50.0  # beyond this no eye sees a difference, and one identical pair must not rule a mean
)


def fidelity(kind: str, outputs: Any, references: Any) -> dict[str, np.ndarray]:
    """Compare each output with its reference.

    Args:
        kind: the generator's `output_kind`.
        outputs: `image`: uint8 RGB [n, H, W, 3]. `tokens`: n arrays of token numbers. `embedding`:
            n arrays of floats. The n entries may differ in shape from each other.
        references: the same, in the same order.

    Returns:
        [n] float64 for each figure, the primary one first. `image`: `ssim` (Gaussian window 11,
        sigma 1.5, up to 1) and `psnr` (dB, capped at 50). `tokens`: `agreement`, the share of equal
        positions, in [0, 1]. `embedding`: `cosine`, in [-1, 1].

    Raises:
        ConfigError: an unknown kind.
        DataError: numbers or shapes of outputs and references differ, a value is not finite, or an
            image is smaller than 11 pixels.
    """
    if kind not in PRIMARY:
        raise ConfigError(f"output kind is {kind!r}; expected one of {list(PRIMARY)}")
    if len(outputs) != len(references):
        raise DataError(f"{len(outputs)} outputs against {len(references)} references")
    pairs = [
        _checked(row, np.asarray(x), np.asarray(y))
        for row, (x, y) in enumerate(zip(outputs, references, strict=True))
    ]
    if kind == "image":
        return _image(pairs)
    if kind == "tokens":
        return {"agreement": np.array([np.mean(x == y) for x, y in pairs], dtype=np.float64)}
    return {
        "cosine": np.array([_cosine(row, *pair) for row, pair in enumerate(pairs)], dtype=float)
    }


def _checked(row: int, output: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if output.shape != reference.shape:
        raise DataError(f"output {row} is {output.shape}, its reference {reference.shape}")
    if output.size == 0:
        raise DataError(f"output {row} is empty: {output.shape}")
    for name, values in (("output", output), ("reference", reference)):
        if not np.isfinite(values).all():
            raise DataError(f"{name} {row} holds values that are not finite")
    return output, reference


def _image(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    for row, (output, reference) in enumerate(pairs):
        for name, image in (("output", output), ("reference", reference)):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise DataError(
                    f"{name} {row} is {image.dtype} {image.shape}; expected uint8 [H, W, 3]"
                )
    figures = {name: np.empty(len(pairs), dtype=np.float64) for name in ("ssim", "psnr")}
    for rows in _same_shape([output.shape for output, _ in pairs]):
        images = torch.from_numpy(np.stack([pairs[row][0] for row in rows]))
        references = torch.from_numpy(np.stack([pairs[row][1] for row in rows]))
        figures["ssim"][rows] = ssim(images, references).numpy()
        figures["psnr"][rows] = psnr(images, references).clamp(max=PSNR_CAP_DB).numpy()
    return figures


def _same_shape(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(row)
    return list(groups.values())


def _cosine(row: int, output: np.ndarray, reference: np.ndarray) -> float:
    x, y = output.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    if norms == 0:
        raise DataError(f"output {row} or its reference is all zero: it has no direction")
    return float(np.clip(x @ y / norms, -1.0, 1.0))
