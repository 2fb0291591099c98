"""From clips to codes of video and motion, and back: what EgoM2P reads and writes.

A coder has `decode(codes)`, and most have `encode(clip)`. Those beside a small model are vector
quantizers in its folder; the published ones of video are Cosmos, as TorchScript files.

Shapes: F = 16 frames, H x W pixels, T = 60 motion steps, codes [5, h, w] or [30].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from base.errors import CheckpointError, ConfigError, DataError
from base.files import read_json
from fourm_backend.motion import MotionTokenizer, camera_output, gaze_output
from fourm_backend.tokenizer import VQTokenizer
from fourm_backend.video import (
    FRAMES,
    cut_frames,
    depth_metres,
    depth_values,
    pad_frames,
    picture_values,
    pictures,
)

DEPTH_RANGE_FILE = "depth.json"
_LARGE = 16  # Cosmos takes frames whose sides are multiples of this


class Coder(Protocol):
    """What turns codes of one modality into what they stand for."""

    @property
    def metric(self) -> bool:
        """Whether what is decoded has a unit: metres, or parts of the picture."""

    def encode(self, clip: np.ndarray) -> np.ndarray:
        """Codes of a clip."""

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """What the codes stand for."""


@dataclass(frozen=True)
class MotionCoder:
    """Gaze [T, 2] in 0 to 1 of the picture, or camera steps [T, 9]; nothing is encoded here."""

    tokenizer: MotionTokenizer
    metric: bool = True

    def encode(self, clip: np.ndarray) -> np.ndarray:
        raise ConfigError(f"{self.tokenizer.kind} is no input that can be given as a clip")

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        steps = self.tokenizer.decode(_one_row(codes))[0]
        output = gaze_output if self.tokenizer.kind == "gaze" else camera_output
        return output(steps).numpy()


@dataclass(frozen=True)
class PictureCoder:
    """Frames [F, H, W, 3] uint8, by a vector quantizer."""

    tokenizer: VQTokenizer
    metric: bool = True

    @torch.no_grad()
    def encode(self, clip: np.ndarray) -> np.ndarray:
        tokens = self.tokenizer.encode(pad_frames(picture_values(clip[None])))
        return tokens[0].reshape(self.tokenizer.settings.grid).numpy()

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        return pictures(cut_frames(self.tokenizer.decode(_one_row(codes))))[0]


@dataclass(frozen=True)
class DepthCoder:
    """Depth [F, H, W] in metres, by a vector quantizer of its logarithm."""

    tokenizer: VQTokenizer
    nearest_m: float
    farthest_m: float
    metric: bool = True

    @torch.no_grad()
    def encode(self, clip: np.ndarray) -> np.ndarray:
        values = depth_values(clip[None], self.nearest_m, self.farthest_m)
        tokens = self.tokenizer.encode(pad_frames(values))
        return tokens[0].reshape(self.tokenizer.settings.grid).numpy()

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        values = cut_frames(self.tokenizer.decode(_one_row(codes)))
        return depth_metres(values, self.nearest_m, self.farthest_m)[0]


class CosmosCoder:
    """Frames by the Cosmos tokenizer; depth is a video, too, whose channels are averaged.

    Args:
        folder: with `encoder.jit` and `decoder.jit` (TorchScript).
        depth: decode to [F, H, W] float32 without a unit instead of frames.
        device: where it runs.

    Raises:
        CheckpointError: a file is missing or is not TorchScript.
    """

    metric = False

    def __init__(self, folder: str | Path, depth: bool = False, device: str = "cpu"):
        self.folder, self.depth, self.device = Path(folder), depth, device
        self._encoder, self._decoder = (self._load(f"{n}.jit") for n in ("encoder", "decoder"))

    def _load(self, name: str) -> Any:
        path = self.folder / name
        if not path.is_file():
            raise CheckpointError(
                f"{path} does not exist; the Cosmos tokenizer (DV4x8x8) has encoder.jit and "
                "decoder.jit"
            )
        try:
            return torch.jit.load(str(path), map_location=self.device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise CheckpointError(f"{path} is not TorchScript: {reason}") from None

    @torch.no_grad()
    def encode(self, clip: np.ndarray) -> np.ndarray:
        """Codes [5, h, w] of frames [F, H, W, 3] uint8, or of depth [F, H, W] in 0 to 255."""
        frames = np.repeat(clip[..., None], 3, axis=-1) if clip.ndim == 3 else clip
        if len(frames) != FRAMES:
            raise DataError(f"a clip has {len(frames)} frames; the model takes {FRAMES}")
        video = torch.tensor(frames).movedim(-1, 0).float()  # [3, F, H, W]
        right, below = (-video.shape[axis] % _LARGE for axis in (3, 2))
        video = F.pad(video, (right // 2, right - right // 2, below // 2, below - below // 2))
        video = torch.cat([video, video[:, -1:]], dim=1) / 127.5 - 1.0  # 17 frames
        codes = self._encoder(video[None].to(self.device, torch.bfloat16))
        codes = codes[0] if isinstance(codes, (tuple, list)) else codes
        return codes[0].cpu().numpy().astype(np.int64)

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        ids = torch.tensor(codes.astype(np.int64))[None].to(self.device)
        video = self._decoder(ids)[0].float().cpu()[:, :FRAMES]  # [3, F, H, W] in -1 to 1
        levels = ((video.clamp(-1.0, 1.0) + 1.0) * 127.5).round()
        if self.depth:
            return levels.mean(0).numpy()
        return levels.movedim(0, -1).to(torch.uint8).numpy()


def _one_row(codes: np.ndarray) -> Tensor:
    return torch.tensor(codes.reshape(1, -1).astype(np.int64))


def load_coders(
    folder: Path | None,
    motion_files: Sequence[str] = (),
    cosmos: str | None = None,
    device: str = "cpu",
) -> dict[str, Coder]:
    """All coders that are at hand, by modality.

    Args:
        folder: a model's, whose `tok_NAME.safetensors` are taken.
        motion_files: tokenizers of gaze or camera.
        cosmos: folder of the Cosmos tokenizer, for both kinds of video.
        device: where Cosmos runs; the others are small and stay on the CPU.
    """
    coders: dict[str, Coder] = {}
    if folder is not None and folder.is_dir():
        for path in sorted(folder.glob("tok_*.safetensors")):
            coders[path.stem] = _beside_a_model(path)
    if cosmos is not None:
        for name in ("tok_rgb", "tok_depth"):
            coders[name] = CosmosCoder(cosmos, name == "tok_depth", device)
    for file in motion_files:
        motion = MotionTokenizer.from_file(file)
        coders[f"tok_{motion.kind}"] = MotionCoder(motion)
    return coders


def _beside_a_model(path: Path) -> Coder:
    if path.stem in ("tok_gaze", "tok_cam"):
        return MotionCoder(MotionTokenizer.from_file(path))
    tokenizer = VQTokenizer.from_file(path)
    if path.stem != "tok_depth":
        return PictureCoder(tokenizer)
    reach: Mapping[str, float] = read_json(path.parent / DEPTH_RANGE_FILE)
    return DepthCoder(tokenizer, float(reach["nearest_m"]), float(reach["farthest_m"]))
