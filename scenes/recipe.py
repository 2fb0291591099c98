"""The recipe of the small model: its parts in order, each resumable, from one configuration.

Every part leaves a restart file in `run_dir`; a part that is done is read back and not trained
again. The finished model is written as a pipeline folder.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from base.errors import ConfigError
from infinity_backend.architecture import InfinityConfig, VAEConfig
from infinity_backend.bsq import Grid
from infinity_backend.config import PipelineConfig, PruningConfig, SamplingConfig
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE
from scenes.bf16 import Bf16Linear
from scenes.loop import LoopConfig, load_restart, run_parts, train
from scenes.text_encoder import AttributeHeads, make_text_encoder, make_tokenizer, text_loss
from scenes.train_clip import clip_config, clip_loss, make_clip
from scenes.train_transformer import LayoutHeads, TransformerLossConfig, transformer_loss
from scenes.train_vae import VAELossConfig, decoder_loss, vae_loss

log = logging.getLogger(__name__)

PARTS = ("text", "vae", "clip", "transformer", "decoder")


@dataclass(frozen=True)
class RecipeConfig:
    """All settings of the small model and of its training.

    Attributes:
        run_dir: restart files and logs.
        out_dir: the pipeline folder that is written in the end.
        scales: side of each square scale, in tokens.
        text_layers, clip_layers: depth of the text encoder, and of both towers of CLIP.
        bf16: linear layers of the transformer's training in bfloat16.
    """

    run_dir: str = "runs/scenes"
    out_dir: str = "infinity_backend/pretrained/scenes"
    seed: int = 0
    scales: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8)
    bits: int = 32
    width: int = 128
    depth: int = 6
    text_width: int = 128
    text_layers: int = 3
    text_maxlen: int = 48
    clip_width: int = 128
    clip_layers: int = 3
    vae_channels: int = 48
    bf16: bool = True
    vae_loss: VAELossConfig = field(default_factory=VAELossConfig)
    transformer_loss: TransformerLossConfig = field(default_factory=TransformerLossConfig)
    sampling: SamplingConfig = field(
        default_factory=lambda: SamplingConfig(cfg=2.0, tau=0.5, top_k=0, top_p=0.0)
    )
    pruning: PruningConfig = field(
        default_factory=lambda: PruningConfig(
            first_block=0, last_block=5, cache_tokens=25, restore="no_code"
        )
    )
    text: LoopConfig = field(default_factory=lambda: LoopConfig(1500, 32, 3e-3))
    vae: LoopConfig = field(default_factory=lambda: LoopConfig(11000, 16, 2e-3))
    clip: LoopConfig = field(default_factory=lambda: LoopConfig(1200, 48, 2e-3))
    transformer: LoopConfig = field(default_factory=lambda: LoopConfig(10000, 16, 2e-3))
    decoder: LoopConfig = field(default_factory=lambda: LoopConfig(4000, 16, 1e-3))

    @property
    def schedule(self) -> list[Grid]:
        """Grids of the scales."""
        return [(side, side) for side in self.scales]

    def pipeline(self) -> PipelineConfig:
        """The `config.json` of the finished model."""
        return PipelineConfig(
            name="scenes",
            infinity=InfinityConfig(
                depth=self.depth,
                embed_dim=self.width,
                num_heads=self.width // 32,
                bits=self.bits,
                text_channels=self.text_width,
                text_maxlen=self.text_maxlen,
                block_chunks=2,
            ),
            vae=VAEConfig(
                codebook_dim=self.bits,
                base_ch=self.vae_channels,
                ch_mult=(1, 2),
                num_res_blocks=1,
                patch_size=8,
                stem_patch=4,
            ),
            schedule=tuple(self.schedule),
            rope_grid=self.schedule[-1],
            sampling=self.sampling,
            pruning=self.pruning,
        )


class Recipe:
    """The modules of the small model, and how each learns."""

    def __init__(self, config: RecipeConfig):
        self.config = config
        self.run_dir = Path(config.run_dir)
        pipeline = config.pipeline()
        torch.manual_seed(config.seed)
        self.tokenizer = make_tokenizer()
        self.text_encoder = make_text_encoder(self.tokenizer, config.text_width, config.text_layers)
        self.attribute_heads = AttributeHeads(config.text_width)
        self.vae = VAE(pipeline.vae).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.clip_config = clip_config(self.tokenizer, config.clip_width, config.clip_layers)
        self.clip: Any = make_clip(self.clip_config)
        self.transformer = Infinity(pipeline.infinity)
        self.layout_heads = LayoutHeads(config.width)

    def modules(self, part: str) -> dict[str, Any]:
        """What a part's restart file holds."""
        return {
            "text": {"encoder": self.text_encoder, "heads": self.attribute_heads},
            "vae": {"vae": self.vae},
            "clip": {"clip": self.clip},
            "transformer": {"model": self.transformer, "layout": self.layout_heads},
            "decoder": {"vae": self.vae},
        }[part]

    def restart_file(self, part: str) -> Path:
        """Where a part keeps its state."""
        return self.run_dir / f"{part}.restart.safetensors"

    def load(self, part: str) -> int:
        """Read a part's newest weights; return its step.

        Raises:
            ConfigError: the part has not been trained at all.
        """
        if not self.restart_file(part).exists():
            raise ConfigError(
                f"part {part!r} has no restart file in {self.run_dir}; train it first "
                f"(the order is {', '.join(PARTS)})"
            )
        return load_restart(self.restart_file(part), self.modules(part))

    def train(self, part: str) -> None:
        """Train one part, going on where it stopped; the parts that it needs are read first."""
        config = self.config
        schedule = config.schedule
        for module in self.modules(part).values():
            module.requires_grad_(True)  # another part may have frozen it
        if part in ("transformer", "decoder"):
            self.load("vae")
        if part == "text":
            loss = text_loss(
                self.text_encoder, self.attribute_heads, self.tokenizer, config.text.batch
            )
        elif part == "vae":
            loss = vae_loss(self.vae, schedule, config.vae.batch, config.vae_loss)
        elif part == "clip":
            loss = clip_loss(self.clip, self.tokenizer, config.clip.batch)
        elif part == "transformer":
            self.load("text")
            self.text_encoder.requires_grad_(False).eval()
            self.vae.requires_grad_(False)
            frozen = (self.vae, self.text_encoder, self.tokenizer)
            loss = transformer_loss(
                self.transformer,
                self.layout_heads,
                frozen,
                schedule,
                config.transformer.batch,
                config.transformer_loss,
            )
        else:
            self.vae.encoder.requires_grad_(False)
            loss = decoder_loss(self.vae, schedule, config.decoder.batch, config.vae_loss)
        settings: LoopConfig = getattr(config, part)
        fast = Bf16Linear() if config.bf16 and part == "transformer" else nullcontext()
        with fast:
            train(part, self.modules(part), loss, settings, self.run_dir)

    def run(self, parts: Sequence[str] = PARTS) -> None:
        """Train the parts that are not done yet, in order."""
        run_parts(self.train, parts, PARTS)

    def load_all(self) -> None:
        """Read the newest weights of every part."""
        for part in PARTS:
            if part != "decoder" or self.restart_file(part).exists():
                self.load(part)

    def settings(self) -> dict[str, Any]:
        """The configuration as JSON-ready values, for the model card."""
        return asdict(self.config)
