"""What the model makes of the frames so far: whether it is sure, and what looking less had changed.

A pass of the model costs little beside the tracker on the same frames (`sign_backend/cost.py`), so
it can be asked before every window. The second question is the step doubling by which solvers of
differential equations estimate their error (Hairer, Norsett, Wanner 1993, section II.4): if half
of the looks give another embedding, gaps matter in this clip.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sign_backend.checkpoint import SignModel
from sign_backend.clip import Keypoints
from sign_backend.config import SignConfig
from sign_backend.cost import poseformer_flops
from sign_backend.embed import embed_batch, prepare

DOUBTS = ("model_doubt", "model_sensitivity")
_DECADES = 4.0
_NOTHING_KNOWN = (1.0, 1.0)


def doubts(
    model: SignModel, kind: str, seen: Sequence[tuple[Keypoints, NDArray[np.int64]]]
) -> NDArray[np.float32]:
    """[B, 2]: how unsure the model is, and how far its embedding moves without every second look.

    Both are 0 where the difference is 1e-4 or less, 1 where it is 1 or more, logarithmic between:
    for the first that of the best two glosses to a sure thing (1 - the difference of their
    probabilities), for the second 1 - cosine. A clip of which nothing was seen has two ones. Clips
    of one length are one batch: the last bits depend on how many there are.

    Args:
        model: in evaluation mode.
        kind: of embedding.
        seen: of each clip the frames so far, NaN where nobody looked, and [n] those looked at.
    """
    found = np.tile(np.array(_NOTHING_KNOWN, np.float32), (len(seen), 1))
    by_length: dict[int, list[int]] = {}
    for row, (clip, looks) in enumerate(seen):
        if len(looks):
            by_length.setdefault(len(clip.points), []).append(row)
    for rows in by_length.values():
        clips = [seen[row][0] for row in rows]
        halved = [_without(seen[row][0], seen[row][1][1::2]) for row in rows]
        inputs = [prepare(clip, model.config, warn=False) for clip in (*clips, *halved)]
        embeddings, scores = embed_batch(model, inputs, kind)
        best = torch.from_numpy(scores[: len(rows)]).softmax(1).sort(1, descending=True).values
        unsure = 1 - (best[:, 0] - best[:, 1:2].sum(1))  # a model may have but one gloss
        flat = torch.from_numpy(np.stack([embedding.ravel() for embedding in embeddings]))
        moved = 1 - F.cosine_similarity(flat[: len(rows)], flat[len(rows) :])
        found[rows] = _in_decades(torch.stack([unsure, moved], dim=1).numpy())
    return found


def doubts_flops(config: SignConfig, frames: int) -> float:
    """What `doubts` costs for one clip of so many frames; nothing before the first."""
    return 2.0 * poseformer_flops(config, frames) if frames else 0.0


def _without(clip: Keypoints, frames: NDArray[np.int64]) -> Keypoints:
    points = clip.points.copy()
    points[frames] = np.nan
    return Keypoints(points, clip.height, clip.width)


def _in_decades(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    """From [1e-4, 1] to [0, 1]; what is not finite (the model divided by zero) counts as 1."""
    differences = np.nan_to_num(differences, nan=1.0, posinf=1.0, neginf=1.0)
    return np.asarray(1 + np.log10(np.clip(differences, 10**-_DECADES, 1.0)) / _DECADES)
