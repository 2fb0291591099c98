"""Which tokens of a stage stay: one function a method, all of the same form.

Shapes: R rows, L tokens of the stage, n kept ones, C width, H heads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LOCAL_SHARE = 0.75  # of the kept tokens, `hybrid` takes so many by attention
TIE = 1e-4  # distances that differ by less than this share of the stream's size may count as equal


@dataclass(frozen=True)
class Evidence:
    """What a method may look at.

    Attributes:
        stream: residual stream before the sub-layer, not normalised [R, L, C].
        entropy: how spread out the attention of each token was [R, H, L], measured at the anchor
            block of this or an earlier stage; None before the first measurement.
        change: how much the last stage that ran changed the codes at each token [R, L].
        settle_ties: whether nearly equal distances count as equal, the first of equals being taken.
            Before the first block, tokens that lie alike in the picture are alike but for rounding,
            which depends on how many rows and threads there are; the choice must not.
    """

    stream: Tensor
    entropy: Tensor | None = None
    change: Tensor | None = None
    settle_ties: bool = False


Select = Callable[[Evidence, int], Tensor]


def by_distance(evidence: Evidence, kept: int) -> Tensor:
    """The tokens that differ most from the mean of their row, best first [R, kept].

    Source: FastVAR, "Linear Visual Autoregressive Modeling via Cached Token Pruning" (2025).
    """
    distance = _distance(evidence.stream)
    if not evidence.settle_ties:
        return distance.topk(kept, dim=1).indices
    size = evidence.stream.square().sum(-1).mean(dim=1, keepdim=True)
    steps = ((distance / size.clamp_min(torch.finfo(size.dtype).tiny)).sqrt() / TIE).round()
    return steps.sort(dim=1, descending=True, stable=True).indices[:, :kept]


def by_entropy(evidence: Evidence, kept: int) -> Tensor:
    """The tokens whose attention is most focused: lowest entropy, mean over the heads.

    Source: ToProVAR's idea (attention entropy tells the tokens that matter), in the form and with
    the sign of the predecessor's newest tree.
    """
    if evidence.entropy is None:
        return by_distance(evidence, kept)
    return (-evidence.entropy).mean(1).topk(kept, dim=1).indices


def by_both(evidence: Evidence, kept: int) -> Tensor:
    """Three quarters by focused attention, the rest by distance among those not yet taken.

    Source: the predecessor's newest tree ("hybrid").
    """
    if evidence.entropy is None:
        return by_distance(evidence, kept)
    local = int(LOCAL_SHARE * kept)
    focused = (-evidence.entropy).mean(1).topk(local, dim=1).indices
    distance = _distance(evidence.stream).scatter(1, focused, -1e9)
    return torch.cat([focused, distance.topk(kept - local, dim=1).indices], dim=1)


def by_change(evidence: Evidence, kept: int) -> Tensor:
    """The tokens whose codes the last stage changed most.

    One choice holds for the whole stage, so pruned tokens are set aside once. Source: the idea of
    LD-Pruning (the discrepancy of latents between steps tells where work is left).
    """
    if evidence.change is None:
        return by_distance(evidence, kept)
    return evidence.change.topk(kept, dim=1).indices


SELECTIONS: dict[str, Select] = {
    "fastvar": by_distance,
    "entropy": by_entropy,
    "hybrid": by_both,
    "change": by_change,
}


def _distance(stream: Tensor) -> Tensor:
    return (stream - stream.mean(dim=1, keepdim=True)).square_().sum(-1)  # [R, L]
