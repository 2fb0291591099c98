"""The recipe of the small EgoM2P: three tokenizers and a transformer, trained on walks.

Each part goes on from its restart file in `run_dir`; what is done is read back.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from base.errors import ConfigError
from base.files import write_atomic
from fourm_backend.config import Architecture, ModelConfig
from fourm_backend.modalities import EGOM2P, VIDEO_FRAMES, Modality
from fourm_backend.model import FourM
from fourm_backend.motion import MotionTokenizer, motion_settings
from fourm_backend.tokenizer import TokenizerSettings, VQTokenizer
from fourm_backend.video import SLOT_FRAMES
from scenes.bf16 import Bf16Linear
from scenes.loop import LoopConfig, load_restart, run_parts, train
from scenes.train_tokens import TokenLossConfig, TokenTask, start_small, token_loss
from scenes.train_vq import VQLossConfig, vq_loss
from scenes.walk import SIDE
from scenes.walk_data import MODALITIES, Walks, stored_walks

log = logging.getLogger(__name__)

PATCH = 8  # pixels
PARTS = (*MODALITIES, "transformer")
TASKS = (
    TokenTask(("tok_rgb",), "tok_depth", 6.0),
    TokenTask(("tok_rgb",), "tok_cam", 1.5),
    TokenTask(("tok_rgb", "tok_depth"), "tok_cam", 0.5),
    TokenTask(("tok_depth",), "tok_rgb", 1.0),
    TokenTask(("tok_cam",), "tok_depth", 0.5),
)


@dataclass(frozen=True)
class TokenizerConfig:
    """Sizes and training of one tokenizer; see `fourm_backend.tokenizer.TokenizerSettings`."""

    codes: int
    dim: int
    depth: int
    loop: LoopConfig
    latent_dim: int = 16


@dataclass(frozen=True)
class WalkRecipeConfig:
    """All settings of the small EgoM2P and of its training.

    Attributes:
        run_dir: walks, restart files and logs.
        out_dir: the folder that is written in the end.
        walks: how many are drawn to train on.
        bf16: linear layers in bfloat16 while training.
    """

    run_dir: str = "runs/walks"
    out_dir: str = "fourm_backend/pretrained/walks"
    seed: int = 0
    walks: int = 6144
    dim: int = 120
    depth: int = 4
    num_heads: int = 4
    bf16: bool = True
    tok_rgb: TokenizerConfig = field(
        default_factory=lambda: TokenizerConfig(512, 84, 1, LoopConfig(1500, 16, 2e-3))
    )
    tok_depth: TokenizerConfig = field(
        default_factory=lambda: TokenizerConfig(256, 60, 2, LoopConfig(1200, 16, 2e-3))
    )
    tok_cam: TokenizerConfig = field(
        default_factory=lambda: TokenizerConfig(128, 64, 1, LoopConfig(2000, 64, 2e-3))
    )
    transformer: LoopConfig = field(default_factory=lambda: LoopConfig(1500, 16, 2e-3))
    vq_loss: VQLossConfig = field(default_factory=VQLossConfig)
    token_loss: TokenLossConfig = field(default_factory=TokenLossConfig)

    def modality(self, name: str) -> Modality:
        """The published modality, in the sizes of this model."""
        own = {"vocab_size": getattr(self, name).codes}
        if name != "tok_cam":
            own |= {"image_size": (SIDE, SIDE), "patch_size": PATCH}
        return Modality(**{**asdict(EGOM2P[name]), **own, "max_length": 0, "max_tokens": None})

    def model(self) -> ModelConfig:
        """The transformer: every modality in and out."""
        entries = {name: self.modality(name) for name in MODALITIES}
        architecture = Architecture(
            dim=self.dim,
            encoder_depth=self.depth,
            decoder_depth=self.depth,
            num_heads=self.num_heads,
            share_embedding=True,
        )
        return ModelConfig(architecture, entries, entries)

    def tokenizer(self, name: str) -> VQTokenizer:
        """One tokenizer, untrained."""
        config: TokenizerConfig = getattr(self, name)
        sizes = {"dim": config.dim, "depth": config.depth, "latent_dim": config.latent_dim}
        sizes["codebook_size"] = config.codes
        if name == "tok_cam":
            return MotionTokenizer(motion_settings("cam", **sizes))
        grid = (VIDEO_FRAMES, SIDE // PATCH, SIDE // PATCH)
        patch = (SLOT_FRAMES, PATCH, PATCH)
        channels = 3 if name == "tok_rgb" else 1
        return VQTokenizer(TokenizerSettings(channels, grid, patch, **sizes))


class WalkRecipe:
    """The modules of the small EgoM2P, and how each learns."""

    def __init__(self, config: WalkRecipeConfig):
        self.config = config
        self.run_dir = Path(config.run_dir)
        torch.manual_seed(config.seed)
        self.parts: dict[str, nn.Module] = {name: config.tokenizer(name) for name in MODALITIES}
        model = FourM(config.model())
        start_small(model)
        self.parts["transformer"] = model

    @cached_property
    def walks(self) -> Walks:
        """What is trained on."""
        folder = self.run_dir / "walks"
        return stored_walks(folder, "train", self.config.walks, self.config.seed)

    def tokenizer(self, name: str) -> Any:
        """One of the tokenizers."""
        return self.parts[name]

    def load(self, part: str) -> int:
        """Read a part's newest weights; return its step.

        Raises:
            ConfigError: it has not been trained at all.
        """
        file = self.run_dir / f"{part}.restart.safetensors"
        if not file.exists():
            raise ConfigError(
                f"part {part!r} has no restart file in {self.run_dir}; train it first "
                f"(the order is {', '.join(PARTS)})"
            )
        return load_restart(file, {part: self.parts[part]})

    def train(self, part: str) -> None:
        """Train one part, going on where it stopped."""
        config = self.config
        if part == "transformer":
            loop = config.transformer
            tokens = self._tokens()

            def draw_tokens(rng: np.random.Generator) -> dict[str, Tensor]:
                rows = rng.integers(len(self.walks), size=loop.batch)
                return {name: ids[rows] for name, ids in tokens.items()}

            loss = token_loss(self.parts[part], TASKS, draw_tokens, config.token_loss)  # type: ignore[arg-type]
        else:
            loop = getattr(config, part).loop

            def draw_values(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
                rows = rng.integers(len(self.walks), size=loop.batch)
                return self.walks.values(part, rows), torch.ones(())

            loss = vq_loss(self.tokenizer(part), draw_values, config.vq_loss)
        with Bf16Linear() if config.bf16 else nullcontext():
            train(part, {part: self.parts[part]}, loss, loop, self.run_dir)

    def run(self, parts: Sequence[str] = PARTS) -> None:
        """Train the parts in order."""
        run_parts(self.train, parts, PARTS)

    @torch.no_grad()
    def _tokens(self) -> dict[str, Tensor]:
        """[W, L] tokens of all walks, by modality; kept on disk for these tokenizers."""
        made_with = " ".join(f"{name}:{self.load(name)}" for name in MODALITIES)
        path = self.run_dir / "tokens.safetensors"
        if path.is_file():
            with safe_open(path, "pt") as file:
                if file.metadata() == {"made_with": made_with}:
                    return {name: file.get_tensor(name) for name in MODALITIES}
        tokens = {}
        for name in MODALITIES:
            starts = range(0, len(self.walks), 64)
            parts = [self.walks.values(name, slice(start, start + 64)) for start in starts]
            tokens[name] = torch.cat([self.tokenizer(name).encode(part) for part in parts])
        metadata = {"made_with": made_with}
        write_atomic(path, lambda target: save_file(tokens, target, metadata=metadata))
        return tokens
