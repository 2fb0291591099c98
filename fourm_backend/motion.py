"""EgoM2P's tokenizers of gaze and camera paths: 60 steps to 30 tokens and back.

Glossary of shapes: B rows, T steps, N = T / 2 tokens, C channels, K width of a code.
"""

import torch
from torch import Tensor

from base.errors import CheckpointError
from fourm_backend.tokenizer import TokenizerSettings, VQTokenizer

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


def motion_settings(
    kind: str, frames: int = 60, temporal_compress: int = 2, **sizes: int
) -> TokenizerSettings:
    """Sizes of a tokenizer; the defaults are the published ones.

    Args:
        kind: `gaze` or `cam`.
        frames: T.
        temporal_compress: steps of one token.
        sizes: see `TokenizerSettings`.
    """
    grid = (frames // temporal_compress,)
    return TokenizerSettings(CHANNELS[kind], grid, (temporal_compress,), **sizes)


class MotionTokenizer(VQTokenizer):
    """Gaze or camera path [B, T, C] to tokens [B, N] and back."""

    def __init__(self, settings: TokenizerSettings):
        if settings.channels not in CHANNELS.values() or len(settings.grid) != 1:
            raise CheckpointError(
                f"a tokenizer of {settings.channels} channels and {len(settings.grid)} axes; "
                f"tokenizers of motion have one axis, and channels as {CHANNELS}"
            )
        super().__init__(settings)

    @property
    def kind(self) -> str:
        """`gaze` or `cam`."""
        return next(name for name, count in CHANNELS.items() if count == self.settings.channels)

    def latent(self, values: Tensor) -> Tensor:
        """[B, N, K] of standardised camera steps [B, T, 9].

        Gaze has a third channel, 1 where x and y, which are in [-1, 1], are valid.
        """
        if self.kind == "gaze":
            values = values[..., :2] * values[..., 2:]
        return super().latent(values.transpose(1, 2))

    def rebuild(self, codes: Tensor) -> Tensor:
        """[B, T, C]: gaze in [-1, 1], camera steps standardised."""
        return super().rebuild(codes).transpose(1, 2)


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
