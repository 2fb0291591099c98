"""From pictures, videos or paths to tokens and back: a vector quantizer between two transformers.

Weights are named as in the published tokenizers of gaze and camera; the same module with two or
three axes is a tokenizer of pictures or of videos. Diffusion decoders, which the published
tokenizers of RGB, depth, normals and edges have, are not part of this package.

Glossary of shapes: B rows, C channels, N cells (one token each), P values of a cell, D width, K
width of a code, V codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from base.errors import CheckpointError, DataError
from base.weights import load_strict
from fourm_backend.checkpoints import read_pth
from fourm_backend.config import Architecture
from fourm_backend.layers import EncoderBlock, Norm
from fourm_backend.modalities import VIDEO_FRAMES
from fourm_backend.positions import position_table

_CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_HEAD_WIDTH = 64  # of the published tokenizers


@dataclass(frozen=True)
class TokenizerSettings:
    """Sizes of a tokenizer.

    Attributes:
        channels: C.
        grid: cells along each axis.
        patch: values of a cell along each axis.
        dim: D.
        depth: blocks of each side.
        num_heads: None makes heads 64 wide.
        codebook_size: V.
        latent_dim: K.
    """

    channels: int
    grid: tuple[int, ...]
    patch: tuple[int, ...]
    dim: int = 768
    depth: int = 12
    num_heads: int | None = None
    codebook_size: int = 256
    latent_dim: int = 32

    @property
    def size(self) -> tuple[int, ...]:
        """Values along each axis."""
        return tuple(cells * each for cells, each in zip(self.grid, self.patch, strict=True))

    @property
    def blocks(self) -> Architecture:
        """Of one block: biases everywhere, plain GELU layers."""
        return Architecture(
            dim=self.dim,
            num_heads=self.num_heads or max(self.dim // _HEAD_WIDTH, 1),
            qkv_bias=True,
            proj_bias=True,
            mlp_bias=True,
            norm_bias=True,
            act_layer="GELU",
            gated_mlp=False,
        )


class _TanhFeedForward(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.fc1(x)))


class _Tower(nn.Module):
    """Blocks on cells with fixed places, and a last layer with tanh."""

    def __init__(self, settings: TokenizerSettings):
        super().__init__()
        self.position_embeddings = nn.Parameter(position_table(settings.grid, settings.dim))
        self.blocks = nn.ModuleList(EncoderBlock(settings.blocks) for _ in range(settings.depth))
        self.norm_mlp = Norm(settings.dim, bias=True)
        self.post_mlp = _TanhFeedForward(settings.dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position_embeddings
        for block in self.blocks:
            x, _ = block(x, None)
        return x + self.post_mlp(self.norm_mlp(x))


class _Encoder(_Tower):
    def __init__(self, settings: TokenizerSettings):
        super().__init__(settings)
        convolution = _CONVOLUTIONS[len(settings.patch)]
        self.conv = convolution(
            settings.channels, settings.dim, settings.patch, stride=settings.patch
        )


class _Decoder(_Tower):
    def __init__(self, settings: TokenizerSettings):
        super().__init__(settings)
        self.out_proj = nn.Linear(settings.dim, settings.channels * prod(settings.patch))


class _Codebook(nn.Module):
    embed: Tensor
    cluster_size: Tensor
    initted: Tensor

    def __init__(self, settings: TokenizerSettings):
        super().__init__()
        codes = torch.zeros(settings.codebook_size, settings.latent_dim)
        self.register_buffer("embed", codes)
        self.register_buffer("cluster_size", torch.zeros(settings.codebook_size))
        self.register_buffer("initted", torch.zeros(1))


class _Quantizer(nn.Module):
    def __init__(self, settings: TokenizerSettings):
        super().__init__()
        self._codebook = _Codebook(settings)

    @property
    def codebook(self) -> _Codebook:
        """Codes of length 1, [V, K], and how often each is used; training moves both."""
        return self._codebook


class VQTokenizer(nn.Module):
    """Values [B, C, size] to tokens [B, N] and back."""

    def __init__(self, settings: TokenizerSettings):
        super().__init__()
        self.settings = settings
        convolution = _CONVOLUTIONS[len(settings.patch)]
        self.encoder = _Encoder(settings)
        self.quant_proj = convolution(settings.dim, settings.latent_dim, 1)
        self.quantize = _Quantizer(settings)
        self.post_quant_proj = convolution(settings.latent_dim, settings.dim, 1)
        self.decoder = _Decoder(settings)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Load weights from a safetensors file, or a published `.pth`; sizes are read off them.

        Raises:
            CheckpointError: no such file, it is damaged, or weights that do not fit.
        """
        if not Path(path).is_file():
            raise CheckpointError(f"tokenizer weights {path} do not exist")
        try:
            pth = Path(path).suffix == ".pth"
            tensors = read_pth(Path(path)) if pth else load_file(path)
            settings = infer_settings(tensors)
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{path} is not a tokenizer that this package can run ({error}); it takes plain "
                "vector quantizers, not diffusion decoders"
            ) from None
        tokenizer = cls(settings)
        load_strict(tokenizer, tensors, str(path))
        return tokenizer.eval().requires_grad_(False)

    @property
    def codes(self) -> Tensor:
        """[V, K], of length 1."""
        return self.quantize.codebook.embed

    def latent(self, values: Tensor) -> Tensor:
        """[B, N, K] of length 1, before it is replaced by the nearest code.

        Raises:
            DataError: values of another shape.
        """
        settings = self.settings
        if tuple(values.shape[1:]) != (settings.channels, *settings.size):
            raise DataError(
                f"the tokenizer takes {[settings.channels, *settings.size]} (channels first); got "
                f"{list(values.shape[1:])}"
            )
        x = _as_linear(self.encoder.conv, to_cells(values, settings.grid, settings.patch))
        return F.normalize(_as_linear(self.quant_proj, self.encoder(x)), dim=-1)

    def quantized(self, latent: Tensor) -> Tensor:
        """Tokens [B, N]: the nearest code of each latent."""
        return (latent @ self.codes.T).argmax(-1)

    def encode(self, values: Tensor) -> Tensor:
        """Tokens [B, N] of values [B, C, size]."""
        return self.quantized(self.latent(values))

    def rebuild(self, codes: Tensor) -> Tensor:
        """Values [B, C, size] of codes [B, N, K]."""
        x = self.decoder(_as_linear(self.post_quant_proj, codes))
        return from_cells(self.decoder.out_proj(x), self.settings.grid, self.settings.patch)

    def decode(self, tokens: Tensor) -> Tensor:
        """Values [B, C, size] of tokens [B, N].

        Raises:
            DataError: tokens that are no codes, or a wrong number of them.
        """
        count, vocabulary = prod(self.settings.grid), len(self.codes)
        if tokens.shape[1] != count or int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary:
            raise DataError(
                f"{list(tokens.shape)} tokens from {int(tokens.min())} to {int(tokens.max())}; the "
                f"tokenizer has {count} cells {self.settings.grid} and {vocabulary} codes"
            )
        return self.rebuild(self.codes[tokens])


def _as_linear(convolution: nn.Module, cells: Tensor) -> Tensor:
    """A convolution whose stride is its kernel, on cells [B, N, P]."""
    weight, bias = convolution.weight, convolution.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    return F.linear(cells, weight.flatten(1), bias)


def to_cells(values: Tensor, grid: tuple[int, ...], patch: tuple[int, ...]) -> Tensor:
    """[B, C, size] to [B, N, C * patch]; inside of a cell the last axis runs fastest."""
    axes = len(grid)
    sizes = [size for pair in zip(grid, patch, strict=True) for size in pair]
    split = values.reshape(len(values), -1, *sizes)  # [B, C, grid 0, patch 0, grid 1, ...]
    order = [0, *range(2, 2 + 2 * axes, 2), 1, *range(3, 3 + 2 * axes, 2)]
    return split.permute(order).reshape(len(values), prod(grid), -1)


def from_cells(cells: Tensor, grid: tuple[int, ...], patch: tuple[int, ...]) -> Tensor:
    """The reverse of `to_cells`."""
    axes = len(grid)
    split = cells.view(len(cells), *grid, -1, *patch)
    order = [0, 1 + axes]
    for axis in range(axes):
        order += [1 + axis, 2 + axes + axis]
    size = [cells * each for cells, each in zip(grid, patch, strict=True)]
    return split.permute(order).reshape(len(cells), -1, *size)


def infer_settings(tensors: Mapping[str, Tensor]) -> TokenizerSettings:
    """Sizes from names and shapes: heads are 64 wide, pictures and frames square.

    Raises:
        KeyError: a tensor that every tokenizer has is missing.
        ValueError: sizes that no tokenizer has.
    """
    dim, channels, *patch = tensors["encoder.conv.weight"].shape
    codes, latent = tensors["quantize._codebook.embed"].shape
    depth = len({key.split(".")[2] for key in tensors if key.startswith("encoder.blocks.")})
    cells = tensors["encoder.position_embeddings"].shape[1]
    if len(patch) == 1:
        grid: tuple[int, ...] = (cells,)
    else:
        frames = (VIDEO_FRAMES,) if len(patch) == 3 else ()
        side = round((cells / prod(frames)) ** 0.5)
        grid = (*frames, side, side)
    if prod(grid) != cells:
        raise ValueError(f"{cells} cells are no square grid")
    return TokenizerSettings(channels, grid, tuple(patch), dim, depth, None, codes, latent)
