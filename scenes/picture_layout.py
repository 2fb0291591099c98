"""An auxiliary loss of the small 4M: each token says what is at its place, each word what it means.

Without it the model learns very slowly which word belongs to which place; it is dropped after
training.

Shapes: B rows, M asked tokens, N context tokens, T words, D width.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scenes.text_encoder import AttributeHeads, targets_of
from scenes.train_tokens import Reading
from scenes.train_transformer import LayoutHeads, layout_targets
from scenes.world import Scene

_NONE = -100  # a target that does not count
_PLACE, _WORD = "place ", "word "  # what is not tokens in a batch


def with_layout(tokens: Mapping[str, Tensor], scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """Add what is where, at every cell of the 2x2 places [B, 4], and at every word [B, T]."""
    places = layout_targets(scenes, [(2, 2)])
    words = targets_of(scenes, tokens["caption"].shape[1])
    return {
        **tokens,
        **{f"{_PLACE}{name}": values for name, values in places.items()},
        **{f"{_WORD}{name}": values for name, values in words.items()},
    }


class LayoutLoss(nn.Module):
    """Linear classifiers on the decoder's output, and on the encoder's of the caption."""

    def __init__(self, width: int, place_weight: float, word_weight: float):
        super().__init__()
        self.place_weight, self.word_weight = place_weight, word_weight
        self.places, self.words = LayoutHeads(width), AttributeHeads(width)

    def forward(self, batch: Mapping[str, Tensor], reading: Reading) -> Tensor:
        """The weighted sum of both; none of it where nothing was given."""
        if not reading.given:
            return reading.output.new_zeros(())
        loss = self.place_weight * self._place_loss(batch, reading)
        if "caption" in reading.given:
            encoded = reading.encoded[:, : batch["caption"].shape[1]]
            loss = loss + self.word_weight * _mean_loss(batch, self.words(encoded), _WORD)
        return loss

    def _place_loss(self, batch: Mapping[str, Tensor], reading: Reading) -> Tensor:
        side = round(batch[reading.target].shape[1] ** 0.5)
        place = 2 * (reading.asked // side >= side // 2).long()
        place = place + (reading.asked % side >= side // 2).long()  # [B, M]
        here = {k: v.gather(1, place) for k, v in batch.items() if k.startswith(_PLACE)}
        return _mean_loss(here, self.places(reading.output), _PLACE)


def _mean_loss(batch: Mapping[str, Tensor], logits: Mapping[str, Tensor], prefix: str) -> Tensor:
    losses = [
        F.cross_entropy(
            values.flatten(0, 1), batch[f"{prefix}{name}"].flatten(), ignore_index=_NONE
        )
        for name, values in logits.items()
    ]
    return torch.stack(losses).mean()
