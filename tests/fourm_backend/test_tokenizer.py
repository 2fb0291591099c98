"""Vector quantizers of one, two and three axes: places of cells, sizes off the file, errors."""

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from base.errors import CheckpointError, DataError
from fourm_backend.tokenizer import TokenizerSettings, VQTokenizer, from_cells, to_cells

SIZES = {
    "path": TokenizerSettings(9, (30,), (2,), 64, 1, None, 7, 4),
    "picture": TokenizerSettings(3, (2, 2), (8, 8), 64, 1, None, 7, 4),
    "video": TokenizerSettings(1, (5, 2, 2), (4, 8, 8), 96, 1, None, 7, 4),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_file_says_all_sizes_and_decodes_codes_exactly(name: str, tmp_path: Path) -> None:
    settings = SIZES[name]
    torch.manual_seed(0)
    made = VQTokenizer(settings).eval()
    torch.nn.init.normal_(made.codes)
    made.codes.copy_(torch.nn.functional.normalize(made.codes, dim=1))
    save_file({k: v.clone() for k, v in made.state_dict().items()}, tmp_path / "vq.safetensors")
    read = VQTokenizer.from_file(tmp_path / "vq.safetensors")
    assert read.settings == settings
    # as published, beside the settings of the training program
    content = {"model": made.state_dict(), "args": argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / "vq.pth")
    assert VQTokenizer.from_file(tmp_path / "vq.pth").settings == settings
    values = torch.randn(2, settings.channels, *settings.size)
    with torch.no_grad():
        tokens = made.encode(values)
    torch.testing.assert_close(read.encode(values), tokens)
    assert tokens.unique().numel() > 1
    assert read.decode(tokens).shape == values.shape
    with pytest.raises(DataError, match="7 codes"):
        read.decode(tokens + 7)
    with pytest.raises(DataError, match="channels first"):
        read.encode(values[:, :, 1:])


@pytest.mark.parametrize("name", SIZES)
def test_cells_are_what_a_convolution_with_its_kernel_as_stride_sees(name: str) -> None:
    settings = SIZES[name]
    made = VQTokenizer(settings)
    values = torch.randn(2, settings.channels, *settings.size)
    cells = to_cells(values, settings.grid, settings.patch)
    torch.testing.assert_close(from_cells(cells, settings.grid, settings.patch), values)
    conv = made.encoder.conv
    wanted = conv(values).flatten(2).transpose(1, 2)
    got = torch.nn.functional.linear(cells, conv.weight.flatten(1), conv.bias)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_other_weights_are_refused_with_a_reason(tmp_path: Path) -> None:
    save_file({"unet.conv_in.weight": torch.zeros(3)}, tmp_path / "diffusion.safetensors")
    with pytest.raises(CheckpointError, match="not diffusion decoders"):
        VQTokenizer.from_file(tmp_path / "diffusion.safetensors")
    with pytest.raises(CheckpointError, match="do not exist"):
        VQTokenizer.from_file(tmp_path / "nothing.safetensors")
