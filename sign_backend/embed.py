"""Keypoints of clips through a model: one array of embeddings a clip.

By default every clip is computed by itself. The original pads the clips of a batch to the longest
one and lets the padding change the end of the shorter ones; `reference_padding` does the same.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from base.errors import ConfigError
from sign_backend.checkpoint import SignModel
from sign_backend.clip import Keypoints
from sign_backend.config import SignConfig
from sign_backend.kinds import SCORES, check_kind
from sign_backend.postprocess import (
    clean,
    drop_coinciding,
    fill_zeros,
    flatten,
    impute,
    scale_aspect,
)

logger = logging.getLogger(__name__)
Aspect = float | Literal["checkpoint", "video"]
Embedding = NDArray[np.float32]
_MANY_FRAMES = 4000
_HOOKED = threading.Lock()  # hooks belong to the model, which threads may share


def prepare(
    keypoints: Keypoints,
    config: SignConfig,
    *,
    language: int = 0,
    aspect: Aspect = "checkpoint",
    parity: bool = False,
    name: str = "clip",
    warn: bool = True,
) -> NDArray[np.float32]:
    """Turn what was found in a clip into the input of a model.

    Args:
        keypoints: of the clip.
        config: of the model.
        language: index of the training language, for its aspect ratio.
        aspect: height over width: `checkpoint` takes what the checkpoint says (v0.3: that of the
            video), `video` that of this video, or a number.
        parity: leave frames in which the model will divide by zero, as the original does.
        name: of the clip, for messages.
        warn: log which frames count as not found because joints coincide in them.

    Returns:
        [T, 75, 3] keypoints, or [T, F] features for a model of v0.3.
    """
    points = keypoints.points
    if config.takes_features and config.data_kind in ("Mediapipe", "Mediapipe_Raw"):
        return flatten(points, config.mediapipe_2d)
    ratio = ratio_of(config, language, aspect)
    points = scale_aspect(points, keypoints.height / keypoints.width if ratio is None else ratio)
    if config.takes_features:
        return flatten(clean(fill_zeros(impute(points))), config.mediapipe_2d)
    if not parity:
        points, dropped = drop_coinciding(points)
        for part, frames in dropped.items() if warn else ():
            logger.warning(
                "%s, %s: joints coincide in %d frames; taken as not found", name, part, frames
            )
    return fill_zeros(impute(points)).astype(np.float32)


def embed(
    model: SignModel,
    clips: Sequence[NDArray[np.float32]],
    kind: str,
    *,
    language: int = 0,
    reference_padding: bool = False,
) -> list[Embedding]:
    """Run clips through a model and take out what `kind` names.

    Args:
        model: as `load_checkpoint` gives it.
        clips: what `prepare` returned, one or more.
        kind: `spatial` or `temporal` [T, D], `CLS` [D], `probabilities` (= `logits`, [C] raw
            scores) or `softmax` [C].
        language: index of the training language.
        reference_padding: as one padded batch, like the original; else each clip by itself.

    Raises:
        ConfigError: an unknown kind or language.
    """
    check_kind(kind)
    check_language(model.config, language)
    if not reference_padding:
        return [embed_batch(model, [clip], kind, language)[0][0] for clip in clips]
    # A v0.3 model is told the lengths by the original, too; the others see them by themselves.
    lengths = torch.tensor([len(clip) for clip in clips]) if model.config.takes_features else None
    return embed_batch(model, clips, kind, language, lengths)[0]


def pad(clips: Sequence[NDArray[np.float32]]) -> Tensor:
    """Put clips side by side, [T, B, ...], with zeros after their ends."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips])


def check_language(config: SignConfig, language: int) -> None:
    """Raise a `ConfigError` for a language that the model was not trained on."""
    if not 0 <= language < config.num_languages:
        raise ConfigError(
            f"language {language}; the checkpoint knows 0 to {config.num_languages - 1}"
        )


@torch.inference_mode()
def embed_batch(
    model: SignModel,
    clips: Sequence[NDArray[np.float32]],
    kind: str,
    language: int = 0,
    lengths: Tensor | None = None,
) -> tuple[list[Embedding], NDArray[np.float32]]:
    """Run clips through a model side by side, the shorter ones padded.

    Arguments as for `embed`, and `lengths` as for the model's `forward`.

    Returns:
        their embeddings, and [B, C] raw scores.
    """
    device = next(model.parameters()).device
    inputs = pad(clips).to(device)
    _warn_if_long(model.config, len(inputs), len(clips))
    hooked: list[Tensor] = []
    with _HOOKED:
        model.setup_inference_hook(kind, lambda module, given, output: hooked.append(output))
        try:
            scores = model(inputs, torch.full((len(clips),), language), lengths)  # [B, C]
        finally:
            if kind not in SCORES:
                model.reset_inference_hook(kind)
    raw = scores.float().cpu().numpy()
    if kind in SCORES:
        return list(scores.float().softmax(dim=1).cpu().numpy() if kind == "softmax" else raw), raw
    rows = hooked[0] if model.batch_first else hooked[0].transpose(0, 1)  # [B, T or 1 + T, D]
    values = rows.float().cpu().numpy()
    if kind == "CLS":
        return list(values[:, 0]), raw
    first = 0 if kind == "spatial" else 1
    return [row[first : first + len(clip)] for row, clip in zip(values, clips, strict=True)], raw


def ratio_of(config: SignConfig, language: int, aspect: Aspect) -> float | None:
    """Height over width by which y is scaled; None: that of each video. Arguments as in `prepare`.

    Raises:
        ConfigError: the checkpoint was asked and does not know.
    """
    if isinstance(aspect, (int, float)):
        return float(aspect)
    if aspect == "video" or config.takes_features:
        return None
    ratios = config.source_aspect_ratio
    if not ratios:
        raise ConfigError(
            "the checkpoint does not say source_aspect_ratio, the height over width of its "
            "training videos; give it as a number (0.5625 for 16:9), or 'video' for that of each"
        )
    if len(ratios) > 1 and language >= len(ratios):
        raise ConfigError(f"language {language}; source_aspect_ratio has {len(ratios)} entries")
    return float(ratios[language if len(ratios) > 1 else 0])


def _warn_if_long(config: SignConfig, frames: int, clips: int) -> None:
    if frames > _MANY_FRAMES:
        scores = 4 * clips * config.num_attention_heads * frames**2 / 2**30
        logger.warning("%d frames: attention may take %.1f GiB of memory", frames, scores)
