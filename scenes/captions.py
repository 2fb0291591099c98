"""Captions as a 4M reads them: one token a word, after the tokens that every 4M has."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor

from fourm_backend.samples import END, PAD
from scenes.text_encoder import FIELDS, MAX_TOKENS
from scenes.world import GROUNDS

_SPECIAL = ("[PAD]", "[UNK]", "[SOS]", "[EOS]", "[S_0]", "[S_1]", "[S_2]")


def caption_tokenizer() -> Tokenizer:
    """The words of the world; ids of special tokens are those of the published tokenizer."""
    words = {"a", "at", "the", "and", "on", "background"}
    for entries in (*FIELDS.values(), GROUNDS):
        words.update(word for entry in entries for word in entry.split())
    vocabulary = {token: index for index, token in enumerate((*_SPECIAL, *sorted(words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def caption_ids(captions: Sequence[str], tokenizer: Any) -> Tensor:
    """[B, T] ids with [EOS], padded to the longest."""
    rows = [[*tokenizer.encode(text).ids[: MAX_TOKENS - 1], END] for text in captions]
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
