"""Features of texts are encoded once, kept within limits, and never taken from other weights."""

from pathlib import Path
from typing import Any

import torch

from tests.infinity_backend.tiny import PROMPTS, tiny_text_encoder


def counting(encoder: Any) -> list[int]:
    batches: list[int] = []
    original = encoder.model.forward

    def forward(*arguments: Any, **options: Any) -> Any:
        batches.append(len(options["input_ids"]))
        return original(*arguments, **options)

    encoder.model.forward = forward
    return batches


def test_encoded_once_in_one_batch() -> None:
    encoder = tiny_text_encoder(32)
    batches = counting(encoder)
    first = encoder([PROMPTS[0], PROMPTS[1], PROMPTS[0]])
    again = encoder([PROMPTS[1], PROMPTS[2]])
    assert batches == [2, 1]
    assert first.lengths[1] == again.lengths[0]
    length = again.lengths[0]
    torch.testing.assert_close(first.features[1, :length], again.features[0, :length])


def test_a_limit_in_bytes() -> None:
    encoder = tiny_text_encoder(32)
    batches = counting(encoder)
    encoder.kept.memory.limit_bytes = 1  # nothing fits, and still everything is there
    assert encoder(list(PROMPTS)).lengths == encoder(list(PROMPTS)).lengths
    assert batches == [4, 4] and len(encoder.kept.memory) == 0


def test_on_disk_under_the_identity_of_the_weights(tmp_path: Path) -> None:
    encoder = tiny_text_encoder(32)
    encoder.keep_in(tmp_path, "weights 1", 2**20)
    expected = encoder(list(PROMPTS))
    encoder.keep_in(tmp_path, "weights 1", 2**20)
    batches = counting(encoder)
    torch.testing.assert_close(encoder(list(PROMPTS)).features, expected.features)
    assert batches == []
    encoder.keep_in(tmp_path, "weights 2", 2**20)
    encoder(list(PROMPTS))
    assert batches == [4]
