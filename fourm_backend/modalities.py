"""What the models read and write: one entry a modality, and the registries of 4M and EgoM2P.

A name may end in `@SIZE` (the picture's side in pixels); the part before it is the transform key.
Sizes and vocabularies are those of the published models.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from base.errors import ConfigError

IMAGE_LIKE = ("img", "gaze", "cam", "keypoints")  # any order of decoding
TEXT_LIKE = ("seq", "seq_token")  # one token after the other
SEQUENCE_POSITIONS = 512  # rows of every table of a text-like modality, whatever its max_length
MOTION_TOKENS = 30
VIDEO_FRAMES = 5


@dataclass(frozen=True)
class Modality:
    """One modality.

    Attributes:
        name: as in a sample and in the weights.
        type: `img`, `gaze`, `cam`, `keypoints` (any order), `seq`, `seq_token` (text-like),
            `seq_emb` (continuous input).
        kind: its embedding: `image_tokens`, `image_pixels`, `sequence`, `sequence_embeddings`,
            `video_tokens` or `motion_tokens`.
        vocab_size: number of token ids; 0 for continuous inputs.
        image_size: (height, width) in pixels; None takes the model's.
        patch_size: side of a patch in pixels; None takes the model's.
        max_length: positions that a text-like modality can use.
        max_tokens: how many tokens autoregressive decoding may make; None is no limit.
        channels: of a pixel, or the width of an embedding.
        learned_positions: a trained table instead of sines.
        decodable: whether it can be a target.
    """

    name: str
    type: str
    kind: str
    vocab_size: int = 0
    image_size: tuple[int, int] | None = None
    patch_size: int | None = None
    max_length: int = 0
    max_tokens: int | None = None
    channels: int = 0
    learned_positions: bool = False
    decodable: bool = True

    @property
    def id(self) -> int:
        """The number that tags its tokens: a hash of the name."""
        return modality_id(self.name)

    @property
    def grid(self) -> tuple[int, ...]:
        """Positions along each axis, such as (14, 14).

        Raises:
            ConfigError: sizes that are missing or do not divide.
        """
        if self.kind == "motion_tokens":
            return (MOTION_TOKENS,)
        if self.kind in ("sequence", "sequence_embeddings"):
            return (self.max_length,)
        if self.image_size is None or self.patch_size is None:
            raise ConfigError(f"modality {self.name} needs an image size and a patch size")
        height, width = self.image_size
        if height % self.patch_size or width % self.patch_size:
            raise ConfigError(
                f"modality {self.name}: {height}x{width} pixels do not divide into patches of "
                f"{self.patch_size}"
            )
        grid = (height // self.patch_size, width // self.patch_size)
        return (VIDEO_FRAMES, *grid) if self.kind == "video_tokens" else grid

    @property
    def num_positions(self) -> int:
        """Tokens of a whole sample of it (text-like ones can be shorter)."""
        return math.prod(self.grid)

    def at(self, image_size: int, patch_size: int) -> "Modality":
        """With the model's sizes where it has none of its own."""
        return replace(
            self,
            image_size=self.image_size or (image_size, image_size),
            patch_size=self.patch_size or patch_size,
        )


def modality_id(name: str) -> int:
    """SHA-256 of the name, as a number below 2^15."""
    return int(hashlib.sha256(name.encode("utf-8")).hexdigest(), 16) % 2**15


def _grid(name: str, vocab_size: int, patch_size: int = 16) -> Modality:
    side = int(name.partition("@")[2])
    return Modality(name, "img", "image_tokens", vocab_size, (side, side), patch_size)


def _global(name: str) -> Modality:
    return Modality(name, "img", "image_tokens", 8192, None, 56, 0, 16, learned_positions=True)


def _text(name: str, max_length: int, max_tokens: int | None = None) -> Modality:
    max_tokens = max_length if max_tokens is None else max_tokens
    return Modality(name, "seq", "sequence", 30_000, max_length=max_length, max_tokens=max_tokens)


def _pixels(name: str) -> Modality:
    side = int(name.partition("@")[2])
    return Modality(name, "img", "image_pixels", 0, (side, side), 16, channels=3, decodable=False)


def _video(name: str) -> Modality:
    return Modality(name, "img", "video_tokens", 64_000, (256, 256), 8, 0, 5120)


def _motion(name: str, kind: str) -> Modality:
    return Modality(name, kind, "motion_tokens", 256, max_length=30, max_tokens=30)


def _by_name(entries: Iterable[Modality]) -> dict[str, Modality]:
    return {entry.name: entry for entry in entries}


FOURM = _by_name(
    (
        _text("caption", 256),
        _text("det", 256),
        _text("metadata", 40),
        _text("human_poses", 263, 275),
        _text("color_palette", 23),
        _text("sam_instance", 290),
        Modality(
            "t5_caption",
            "seq_emb",
            "sequence_embeddings",
            max_length=77,
            max_tokens=77,
            channels=4096,
            decodable=False,
        ),
        *(_pixels(f"rgb@{side}") for side in (224, 448)),
        *(
            _grid(f"{name}@{side}", vocab)
            for side in (224, 448)
            for name, vocab in (
                ("tok_rgb", 16384),
                ("tok_depth", 8192),
                ("tok_normal", 8192),
                ("tok_semseg", 4096),
                ("tok_clip", 8192),
            )
        ),
        *(_grid(f"{name}@224", 8192) for name in ("tok_canny_edge", "tok_sam_edge")),
        *(_grid(f"{name}@224", 8192, 14) for name in ("tok_dinov2", "tok_imagebind")),
        *(_global(name) for name in ("tok_dinov2_global", "tok_imagebind_global")),
    )
)

EGOM2P = _by_name(
    (_video("tok_rgb"), _video("tok_depth"), _motion("tok_gaze", "gaze"), _motion("tok_cam", "cam"))
)

REGISTRY = FOURM | EGOM2P
