"""EgoM2P's tokenizers of gaze and camera paths: 60 steps to 30 tokens and back.

Glossary of shapes: B rows, T steps, N = T / 2 tokens, C channels, D width, K code width, V codes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from base.errors import CheckpointError
from base.weights import load_strict
from fourm_backend.config import Architecture
from fourm_backend.layers import EncoderBlock, Norm
from fourm_backend.positions import positions_1d

CHANNELS = {"gaze": 2, "cam": 9}
CAMERA_MEAN = (
    0.9330503976511908,
    0.004411310479848365,
    -0.004745505205447648,
    -0.004031105018382311,
    0.9670221745404669,
    0.01229744056849661,
    0.0025366981809852238,
    -0.002534521133857395,
    0.03687088469884694,
)
CAMERA_DEVIATION = (
    0.22410282941424692,
    0.15409594854789294,
    0.23538762722445528,
    0.151592393482513,
    0.09890854498671052,
    0.17871060521456542,
    0.16229749698697332,
    0.11305994570310635,
    0.22450155613920986,
)


@dataclass(frozen=True)
class MotionSettings:
    """Sizes of a tokenizer; the defaults are the published ones."""

    kind: str
    dim: int = 768
    depth: int = 12
    num_heads: int = 12
    codebook_size: int = 256
    latent_dim: int = 32
    frames: int = 60
    temporal_compress: int = 2

    @property
    def blocks(self) -> Architecture:
        """Of one block: biases everywhere, plain GELU layers."""
        return Architecture(
            dim=self.dim,
            num_heads=self.num_heads,
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
    """Blocks on tokens with fixed places, and a last layer with tanh."""

    def __init__(self, settings: MotionSettings):
        super().__init__()
        tokens = settings.frames // settings.temporal_compress
        self.position_embeddings = nn.Parameter(positions_1d(tokens, settings.dim))
        self.blocks = nn.ModuleList(EncoderBlock(settings.blocks) for _ in range(settings.depth))
        self.norm_mlp = Norm(settings.dim, bias=True)
        self.post_mlp = _TanhFeedForward(settings.dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position_embeddings
        for block in self.blocks:
            x, _ = block(x, None)
        return x + self.post_mlp(self.norm_mlp(x))


class _Encoder(_Tower):
    def __init__(self, settings: MotionSettings):
        super().__init__(settings)
        step = settings.temporal_compress
        self.conv = nn.Conv1d(CHANNELS[settings.kind], settings.dim, step, stride=step)


class _Decoder(_Tower):
    def __init__(self, settings: MotionSettings):
        super().__init__(settings)
        width = CHANNELS[settings.kind] * settings.temporal_compress
        self.out_proj = nn.Linear(settings.dim, width)


class _Codebook(nn.Module):
    embed: Tensor

    def __init__(self, settings: MotionSettings):
        super().__init__()
        codes = torch.zeros(settings.codebook_size, settings.latent_dim)
        self.register_buffer("embed", codes)
        self.register_buffer("cluster_size", torch.zeros(settings.codebook_size))
        self.register_buffer("initted", torch.zeros(1))


class _Quantizer(nn.Module):
    def __init__(self, settings: MotionSettings):
        super().__init__()
        self._codebook = _Codebook(settings)

    @property
    def codes(self) -> Tensor:
        """[V, K], of length 1."""
        return self._codebook.embed


class MotionTokenizer(nn.Module):
    """Gaze or camera path to tokens and back."""

    def __init__(self, settings: MotionSettings):
        super().__init__()
        self.settings = settings
        self.encoder = _Encoder(settings)
        self.quant_proj = nn.Conv1d(settings.dim, settings.latent_dim, 1)
        self.quantize = _Quantizer(settings)
        self.post_quant_proj = nn.Conv1d(settings.latent_dim, settings.dim, 1)
        self.decoder = _Decoder(settings)

    @classmethod
    def from_file(cls, path: str | Path) -> "MotionTokenizer":
        """Load weights from a safetensors file; sizes are read off them.

        Raises:
            CheckpointError: no such file, it is damaged, or weights that do not fit.
        """
        if not Path(path).is_file():
            raise CheckpointError(f"tokenizer weights {path} do not exist")
        try:
            tensors = load_file(path)
            settings = infer_settings(tensors)
        except (SafetensorError, KeyError, StopIteration) as error:
            raise CheckpointError(f"{path} is not a motion tokenizer: {error}") from None
        tokenizer = cls(settings)
        load_strict(tokenizer, tensors, str(path))
        return tokenizer.eval().requires_grad_(False)

    def encode(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of a path.

        Args:
            steps: [B, T, 9] standardised camera steps, or [B, T, 3] gaze: x and y in [-1, 1], and
                1 where they are valid.

        Returns:
            Tokens [B, N], and their codes [B, K, N].
        """
        if self.settings.kind == "gaze":
            steps = steps[..., :2] * steps[..., 2:]
        x = self.encoder.conv(steps.transpose(1, 2)).transpose(1, 2)
        latent = self.quant_proj(self.encoder(x).transpose(1, 2)).transpose(1, 2)  # [B, N, K]
        tokens = (F.normalize(latent, dim=-1) @ self.quantize.codes.T).argmax(-1)
        return tokens, self.quantize.codes[tokens].transpose(1, 2)

    def decode(self, tokens: Tensor) -> Tensor:
        """[B, T, C] of tokens [B, N]: gaze in [-1, 1], camera steps standardised."""
        codes = self.quantize.codes[tokens].transpose(1, 2)
        x = self.decoder(self.post_quant_proj(codes).transpose(1, 2))
        steps = self.decoder.out_proj(x)  # [B, N, C * steps of a token], the step runs fastest
        steps = steps.unflatten(2, (-1, self.settings.temporal_compress))
        return steps.transpose(2, 3).flatten(1, 2)


def infer_settings(tensors: Mapping[str, Tensor]) -> MotionSettings:
    """Sizes from names and shapes; heads are 64 wide, as in the published tokenizers."""
    dim, channels, step = tensors["encoder.conv.weight"].shape
    kind = next(name for name, count in CHANNELS.items() if count == channels)
    codes, latent = tensors["quantize._codebook.embed"].shape
    depth = len({key.split(".")[2] for key in tensors if key.startswith("encoder.blocks.")})
    frames = tensors["encoder.position_embeddings"].shape[1] * step
    return MotionSettings(kind, dim, depth, max(dim // 64, 1), codes, latent, frames, step)


def gaze_input(gaze: Tensor) -> Tensor:
    """[B, T, 3] for the tokenizer from gaze [B, T, 2] in 0 to 1 of the picture.

    What is not a number, or further outside than a fifth of the picture, is marked invalid.
    """
    valid = ~(gaze.isnan() | (gaze > 1.2) | (gaze < -0.2)).any(dim=-1, keepdim=True)
    return torch.cat([torch.where(valid, gaze, 0.0) * 2 - 1, valid.to(gaze)], dim=-1)


def gaze_output(decoded: Tensor) -> Tensor:
    """Gaze in 0 to 1 of the picture from what the tokenizer gives."""
    return decoded * 0.5 + 0.5


def camera_input(poses: Tensor) -> Tensor:
    """[B, T, 9] for the tokenizer from camera-to-world matrices [B, T, 4, 4] (OpenCV axes).

    Poses are seen from the first one; the first two columns of the rotation, then the place.
    """
    relative = torch.linalg.inv(poses[:, :1]) @ poses
    rotation = relative[..., :3, :2].transpose(-1, -2).flatten(-2)  # column after column
    steps = torch.cat([rotation, relative[..., :3, 3]], dim=-1)
    return (steps - steps.new_tensor(CAMERA_MEAN)) / steps.new_tensor(CAMERA_DEVIATION)


def camera_output(decoded: Tensor) -> Tensor:
    """[B, T, 9] rotation columns and place from what the tokenizer gives."""
    return decoded * decoded.new_tensor(CAMERA_DEVIATION) + decoded.new_tensor(CAMERA_MEAN)
