"""The convolutional tokenizer: image <-> latent features, with the official state-dict keys.

Shapes: B images, (H, W) the latent grid, p = patch_size pixels per cell, d bits per cell.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinity_backend.architecture import VAEConfig
from infinity_backend.bsq import Grid, Quantized, quantize, sum_codes


class Conv(nn.Module):
    """A convolution under the key `.conv`."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Norm(nn.Module):
    """Group normalisation under the key `.norm`."""

    def __init__(self, channels: int):
        super().__init__()
        groups = 32 if channels % 32 == 0 else 24
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class ResidualBlock(nn.Module):
    """Twice (norm, swish, 3x3 convolution), added to the input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1 = Norm(inputs)
        self.conv1 = Conv(inputs, outputs)
        self.norm2 = Norm(outputs)
        self.conv2 = Conv(outputs, outputs)
        if inputs != outputs:
            self.nin_shortcut = Conv(inputs, outputs, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Downsample(nn.Module):
    """Halve both sides: pad right and bottom by one, 3x3 convolution with stride 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double both sides: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Middle(nn.Module):
    """Two residual blocks on the coarsest grid."""

    def __init__(self, channels: int):
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.block_1(x))


class Level(nn.Module):
    """The residual blocks of one resolution, then the change to the next one if there is one."""

    def __init__(
        self, inputs: int, outputs: int, blocks: int, down: bool = False, up: bool = False
    ):
        super().__init__()
        self.block = nn.Sequential(
            *(ResidualBlock(outputs if i else inputs, outputs) for i in range(blocks))
        )
        if down:
            self.downsample = Downsample(outputs)
        if up:
            self.upsample = Upsample(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        return self.upsample(x) if hasattr(self, "upsample") else x


class Encoder(nn.Module):
    """Image [B, 3, pH, pW] to features [B, d, H, W]."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.stem_patch = config.stem_patch
        channels = config.base_ch
        self.conv_in = Conv(3 * config.stem_patch**2, channels)
        self.down = nn.Sequential()
        for index, multiplier in enumerate(config.ch_mult):
            outputs = config.base_ch * multiplier
            halve = index < config.num_halvings
            self.down.append(Level(channels, outputs, config.num_res_blocks, down=halve))
            channels = outputs
        self.mid = Middle(channels)
        self.norm_out = Norm(channels)
        self.conv_out = Conv(channels, config.codebook_dim)

    def forward(self, image: Tensor) -> Tensor:
        h = self.conv_in(F.pixel_unshuffle(image, self.stem_patch))
        h = self.mid(self.down(h))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Codes [B, d, H, W] to an image [B, 3, pH, pW], not clamped."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.stem_patch = config.stem_patch
        channels = config.base_ch * config.ch_mult[-1]
        self.conv_in = Conv(config.codebook_dim, channels)
        self.mid = Middle(channels)
        levels: list[Level] = []  # built from coarse to fine, listed from fine to coarse
        for index in reversed(range(len(config.ch_mult))):
            outputs = config.base_ch * config.ch_mult[index]
            double = 1 <= index <= config.num_halvings
            levels.insert(0, Level(channels, outputs, config.num_res_blocks + 1, up=double))
            channels = outputs
        self.up = nn.ModuleList(levels)
        self.norm_out = Norm(channels)
        self.conv_out = Conv(channels, 3 * config.stem_patch**2)

    def forward(self, codes: Tensor) -> Tensor:
        h = self.mid(self.conv_in(codes))
        for level in reversed(self.up):
            h = level(h)
        h = self.conv_out(F.silu(self.norm_out(h)))
        return F.pixel_shuffle(h, self.stem_patch)


class VAE(nn.Module):
    """The BSQ-VAE. Images are RGB in [-1, 1]."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        # The official file stores one buffer under two names; it takes no part in the numbers.
        # For 64 bits the first power overflows to -2**63, as in the file.
        powers = [1 << shift for shift in reversed(range(config.codebook_dim))]
        mask = torch.tensor([p - (1 << 64) if p >= 1 << 63 else p for p in powers])
        for name in ("quantizer", "quantize"):
            holder = nn.Module()
            holder.lfq = nn.Module()
            holder.lfq.register_buffer("mask", mask.clone())
            setattr(self, name, holder)

    def features(self, image: Tensor) -> Tensor:
        """Image [B, 3, pH, pW] in [-1, 1] to latent features [B, d, H, W] before quantisation."""
        return self.encoder(image)

    def encode(self, image: Tensor, schedule: list[Grid]) -> tuple[Tensor, Quantized]:
        """Features of the image, and their quantisation over `schedule`."""
        features = self.features(image)
        return features, quantize(features, schedule)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, d, H, W] to images [B, 3, pH, pW], clamped to [-1, 1]."""
        # Channels last, as the original's codes lie: group normalisation rounds differently there,
        # visibly so for nearly constant codes (5 % of the values of an image of one scale).
        codes = codes.contiguous(memory_format=torch.channels_last)
        return self.decoder(codes).clamp(-1.0, 1.0)

    def decode_bits(self, bits: list[Tensor], grid: Grid) -> tuple[Tensor, Tensor]:
        """Bits of all scales (each [B, h, w, d]) to (sum of codes, image)."""
        codes = sum_codes(bits, grid)
        return codes, self.decode(codes)


def to_uint8(image: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] to uint8 RGB [B, H, W, 3]; truncated, as the original does."""
    return ((image.float() + 1.0) / 2.0 * 255.0).to(torch.uint8).permute(0, 2, 3, 1)
