"""Clips to codes and back: small quantizers, and Cosmos by its interface."""

from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import CheckpointError, DataError
from fourm_backend.video import (
    cut_frames,
    depth_metres,
    depth_values,
    pad_frames,
    picture_values,
    pictures,
)
from fourm_backend.video_coders import CosmosCoder


def test_sixteen_frames_fill_five_slots_and_come_back() -> None:
    frames = np.random.default_rng(0).integers(256, size=(2, 16, 8, 8, 3), dtype=np.uint8)
    padded = pad_frames(picture_values(frames))
    assert padded.shape == (2, 3, 20, 8, 8)
    assert torch.equal(padded[:, :, 0], padded[:, :, 3])  # the first slot is one frame
    np.testing.assert_array_equal(pictures(cut_frames(padded)), frames)
    with pytest.raises(DataError, match="15 frames"):
        pad_frames(picture_values(frames[:, :15]))


def test_depth_is_a_logarithm_between_its_ends() -> None:
    depth = np.array([0.5, 1.0, 2.0, 8.0, 32.0], np.float32).reshape(1, 5, 1, 1)
    values = depth_values(depth, 0.5, 8.0)
    assert values.flatten().tolist() == pytest.approx([-1.0, -0.5, 0.0, 1.0, 1.0])
    back = depth_metres(values, 0.5, 8.0)
    assert back.flatten().tolist() == pytest.approx([0.5, 1.0, 2.0, 8.0, 8.0])


class Encoder(torch.nn.Module):
    """Codes of how bright each cell is in one frame of a slot."""

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        bright = torch.nn.functional.avg_pool2d(video.float().mean(1)[:, ::4], 8)
        return ((bright + 1.0) * 1000.0).round().long()


class Decoder(torch.nn.Module):
    """The reverse."""

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        bright = (codes.float() / 1000.0 - 1.0).repeat_interleave(4, 1)[:, 3:]
        return bright.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, None].repeat(1, 3, 1, 1, 1)


def test_cosmos_by_its_interface(tmp_path: Path) -> None:
    torch.jit.script(Encoder()).save(tmp_path / "encoder.jit")  # type: ignore[no-untyped-call]
    torch.jit.script(Decoder()).save(tmp_path / "decoder.jit")  # type: ignore[no-untyped-call]
    coder = CosmosCoder(tmp_path)
    clip = np.full((16, 32, 32, 3), 60, np.uint8)
    codes = coder.encode(clip)
    assert codes.shape == (5, 4, 4) and codes.dtype == np.int64
    decoded = coder.decode(codes)
    assert decoded.shape == clip.shape and np.abs(decoded.astype(int) - 60).max() <= 1
    depth = CosmosCoder(tmp_path, depth=True)
    assert depth.decode(depth.encode(clip[..., 0])).shape == (16, 32, 32)
    assert coder.encode(np.zeros((16, 30, 32, 3), np.uint8)).shape == (5, 4, 4)  # padded
    with pytest.raises(DataError, match="12 frames"):
        coder.encode(clip[:12])


def test_cosmos_files_that_are_missing_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"encoder\.jit does not exist"):
        CosmosCoder(tmp_path)
    (tmp_path / "encoder.jit").write_bytes(b"not TorchScript")
    with pytest.raises(CheckpointError, match="is not TorchScript"):
        CosmosCoder(tmp_path)
