"""Text conditions: features of the prompts' tokens, and the unconditional rows of guidance.

Shapes: R rows, T tokens of the longest row, D_t channels of the text encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from base.errors import ConfigError


@dataclass(frozen=True)
class TextCondition:
    """Features of R prompts, padded.

    Attributes:
        features: [R, T, D_t] float32; what lies beyond a row's length is never read.
        lengths: tokens per row, the end-of-sequence token counted.
    """

    features: Tensor
    lengths: tuple[int, ...]

    @property
    def mask(self) -> Tensor:
        """[R, T] bool, True where there is text."""
        positions = torch.arange(self.features.shape[1], device=self.features.device)
        lengths = torch.tensor(self.lengths, device=self.features.device)
        return positions[None] < lengths[:, None]

    @classmethod
    def from_compact(cls, compact: Tensor, lengths: Sequence[int]) -> "TextCondition":
        """From rows one after another [sum(lengths), D_t] (the original's 'kv compact')."""
        if compact.shape[0] != sum(lengths):
            raise ConfigError(f"{compact.shape[0]} text rows for lengths {list(lengths)}")
        return cls.from_rows(compact.float().split(list(lengths)))

    @classmethod
    def from_rows(cls, rows: Sequence[Tensor]) -> "TextCondition":
        """From one tensor [T_i, D_t] a prompt."""
        features = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        return cls(features, tuple(len(row) for row in rows))

    def rows(self) -> list[Tensor]:
        """One tensor [T_i, D_t] a prompt: the reverse of `from_rows`."""
        pairs = zip(self.features, self.lengths, strict=True)
        return [features[:length] for features, length in pairs]

    def unconditional(self, cfg_uncond: Tensor) -> "TextCondition":
        """The guidance rows: for each prompt the first rows of `cfg_uncond`, as many as it has."""
        width = self.features.shape[1]
        if width > len(cfg_uncond):
            raise ConfigError(
                f"a prompt has {width} tokens; the model was made for at most "
                f"{len(cfg_uncond)}. Shorten it"
            )
        features = cfg_uncond[:width].float().expand(len(self.lengths), -1, -1)
        return TextCondition(features, self.lengths)

    def dropped(self, cfg_uncond: Tensor, rows: Tensor) -> "TextCondition":
        """Conditions with the rows marked in `rows` [R] bool made unconditional (training)."""
        unconditional = self.unconditional(cfg_uncond).features
        features = torch.where(rows[:, None, None], unconditional, self.features)
        return TextCondition(features, self.lengths)
