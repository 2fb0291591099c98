"""Gaze and camera paths as their tokenizers take them."""

import pytest
import torch

from base.errors import CheckpointError
from fourm_backend.motion import (
    MotionTokenizer,
    camera_input,
    camera_output,
    gaze_input,
    gaze_output,
)
from fourm_backend.tokenizer import TokenizerSettings


def test_motion_there_and_back() -> None:
    gaze = torch.tensor([[[0.2, 0.7], [1.3, 0.5], [float("nan"), 0.5]]])
    given = gaze_input(gaze)
    assert given[0, :, 2].tolist() == [1.0, 0.0, 0.0] and bool(given.isfinite().all())
    torch.testing.assert_close(gaze_output(given[0, 0, :2]), gaze[0, 0])
    turn = torch.tensor([[0.0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    steps = camera_output(camera_input(torch.stack([turn, turn @ turn])[None]))[0]
    torch.testing.assert_close(
        steps[0], torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        steps[1], torch.tensor([0.0, 1, 0, -1, 0, 0, 1, 2, 3]), atol=1e-6, rtol=0
    )


def test_a_tokenizer_of_pictures_is_none_of_motion() -> None:
    with pytest.raises(CheckpointError, match="3 channels and 2 axes"):
        MotionTokenizer(TokenizerSettings(3, (2, 2), (8, 8), 64, 1))
