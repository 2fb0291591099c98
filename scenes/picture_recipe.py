"""The recipe of the small 4M: three tokenizers of pictures and a transformer, trained on scenes.

Each part goes on from its restart file in `run_dir`; what is done is read back.

Shapes: B rows, P scenes, L tokens of a modality.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from base.errors import ConfigError
from base.files import write_atomic
from fourm_backend.config import Architecture, ModelConfig
from fourm_backend.modalities import Modality
from fourm_backend.model import FourM
from fourm_backend.tokenizer import TokenizerSettings, VQTokenizer
from scenes.bf16 import Bf16Linear
from scenes.captions import caption_ids, caption_tokenizer
from scenes.loop import LoopConfig, load_restart, run_parts, train
from scenes.picture_data import CHANNELS, CLASS_MAP, EDGES, RGB, Pictures, stored_pictures
from scenes.picture_layout import LayoutLoss, with_layout
from scenes.render import SIDE
from scenes.text_encoder import MAX_TOKENS
from scenes.train_tokens import TokenLossConfig, TokenTask, token_loss
from scenes.train_vq import VQLossConfig, decoder_loss, vq_loss

log = logging.getLogger(__name__)

TOKENIZERS = {"rgb": RGB, "edges": EDGES, "classes": CLASS_MAP}
PARTS = (*TOKENIZERS, "layout", "transformer", "decoder")
LAYOUT = (TokenTask(("caption",), EDGES, 3.0), TokenTask(("caption",), CLASS_MAP))
TASKS = (
    TokenTask(("caption",), EDGES, 2.0),
    TokenTask(("caption", EDGES), RGB, 5.0),
    TokenTask(("caption",), RGB, 1.0),
    TokenTask((RGB,), EDGES, 0.5),
    TokenTask((RGB,), CLASS_MAP, 0.5),
)
TASK = {  # the chain to control
    "cond_domains": "caption",
    "target_domains": f"{EDGES}-{RGB}",
    "autoregression_schemes": "maskgit",
    "decoding_steps": "6-8",
    "token_decoding_schedules": "cosine",
    "temps": 0.5,
    "temp_schedules": "constant",
    "cfg_scales": 1.0,
}


@dataclass(frozen=True)
class PictureTokenizerConfig:
    """Sizes and training of one tokenizer; see `fourm_backend.tokenizer.TokenizerSettings`.

    Attributes:
        objects: how much more pixels inside of objects, or on outlines, count.
    """

    codes: int
    dim: int
    depth: int
    loop: LoopConfig
    cells: int = 8
    latent_dim: int = 16
    objects: float = 3.0


@dataclass(frozen=True)
class PictureRecipeConfig:
    """All settings of the small 4M and of its training.

    Attributes:
        run_dir: restart files and logs.
        out_dir: the folder that is written in the end.
        pictures: how many are drawn to train on.
        place_weight: of the loss of what is at the place of each asked token.
        word_weight: of the loss of what object each word belongs to.
        bf16: linear layers in bfloat16 while training.
        task: the chain that the finished folder makes, see `fourm_backend.task.Task`.
    """

    run_dir: str = "runs/scenes_fourm"
    out_dir: str = "fourm_backend/pretrained/scenes"
    seed: int = 0
    pictures: int = 16384
    dim: int = 128
    encoder_depth: int = 3
    decoder_depth: int = 4
    num_heads: int = 4
    place_weight: float = 0.5
    word_weight: float = 0.2
    bf16: bool = True
    rgb: PictureTokenizerConfig = field(
        default_factory=lambda: PictureTokenizerConfig(1024, 128, 2, LoopConfig(1336, 32, 2e-3))
    )
    edges: PictureTokenizerConfig = field(
        default_factory=lambda: PictureTokenizerConfig(256, 64, 2, LoopConfig(1200, 32, 2e-3))
    )
    classes: PictureTokenizerConfig = field(
        default_factory=lambda: PictureTokenizerConfig(256, 64, 2, LoopConfig(800, 32, 2e-3))
    )
    layout: LoopConfig = field(default_factory=lambda: LoopConfig(360, 16, 2e-3, lr_floor=1.0))
    transformer: LoopConfig = field(default_factory=lambda: LoopConfig(2600, 16, 2e-3))
    decoder: LoopConfig = field(default_factory=lambda: LoopConfig(600, 32, 1e-3))
    vq_loss: VQLossConfig = field(default_factory=lambda: VQLossConfig(gradient=0.15))
    task: dict[str, Any] = field(default_factory=lambda: dict(TASK))
    token_loss: TokenLossConfig = field(
        default_factory=lambda: TokenLossConfig(asked=64, early=1.5)
    )

    def tokenizer(self, part: str) -> VQTokenizer:
        """One tokenizer, untrained."""
        config: PictureTokenizerConfig = getattr(self, part)
        cells, patch = (config.cells,) * 2, (SIDE // config.cells,) * 2
        sizes = {"dim": config.dim, "depth": config.depth, "latent_dim": config.latent_dim}
        channels = CHANNELS[TOKENIZERS[part]]
        settings = TokenizerSettings(channels, cells, patch, codebook_size=config.codes, **sizes)
        return VQTokenizer(settings)

    def model(self) -> ModelConfig:
        """The transformer: every modality in and out."""
        words = caption_tokenizer().get_vocab_size()
        caption = Modality("caption", "seq", "sequence", words, max_length=MAX_TOKENS)
        entries = {"caption": caption}
        for part, name in TOKENIZERS.items():
            config: PictureTokenizerConfig = getattr(self, part)
            patch = SIDE // config.cells
            entries[name] = Modality(name, "img", "image_tokens", config.codes, (SIDE, SIDE), patch)
        architecture = Architecture(
            dim=self.dim,
            encoder_depth=self.encoder_depth,
            decoder_depth=self.decoder_depth,
            num_heads=self.num_heads,
        )
        return ModelConfig(architecture, entries, entries)


class PictureRecipe:
    """The modules of the small 4M, and how each learns."""

    def __init__(self, config: PictureRecipeConfig):
        self.config = config
        self.run_dir = Path(config.run_dir)
        torch.manual_seed(config.seed)
        self.tokenizers = {part: config.tokenizer(part) for part in TOKENIZERS}
        self.transformer = FourM(config.model())
        self.layout = LayoutLoss(config.dim, config.place_weight, config.word_weight)
        self.text_tokenizer = caption_tokenizer()

    @cached_property
    def pictures(self) -> Pictures:
        """What is trained on."""
        folder = self.run_dir / "pictures"
        return stored_pictures(folder, "train", self.config.pictures, self.config.seed)

    def modules(self, part: str) -> dict[str, nn.Module]:
        """What a part's restart file holds."""
        if part in ("layout", "transformer"):
            return {"model": self.transformer, "layout": self.layout}
        return {part: self.tokenizers["rgb" if part == "decoder" else part]}

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
        return load_restart(file, self.modules(part))

    def load_all(self) -> None:
        """Read the newest weights of every part."""
        for part in PARTS:
            self.load(part)

    def save_text_tokenizer(self, path: Path) -> None:
        """Write it as JSON."""
        self.text_tokenizer.save(str(path))

    def train(self, part: str) -> None:
        """Train one part, going on where it stopped."""
        config = self.config
        loop: LoopConfig
        if part in ("layout", "transformer"):
            loop = getattr(config, part)
            tasks = LAYOUT if part == "layout" else TASKS
            if part == "transformer":
                self.load("layout")
            draw = self._token_drawer(tasks, loop.batch)
            loss = token_loss(self.transformer, tasks, draw, config.token_loss, self.layout)
        elif part == "decoder":
            loop = config.decoder
            self.load("rgb")
            for module in (self.tokenizers["rgb"].encoder, self.tokenizers["rgb"].quant_proj):
                module.requires_grad_(False)
            draw_values = self._drawer("rgb", loop.batch)
            loss = decoder_loss(self.tokenizers["rgb"], draw_values, config.vq_loss)
        else:
            loop = getattr(config, part).loop
            draw_values = self._drawer(part, loop.batch)
            loss = vq_loss(self.tokenizers[part], draw_values, config.vq_loss)
        with Bf16Linear() if config.bf16 else nullcontext():
            train(part, self.modules(part), loss, loop, self.run_dir)

    def _drawer(
        self, part: str, batch: int
    ) -> Callable[[np.random.Generator], tuple[Tensor, Tensor]]:
        """Draws what a tokenizer takes, and how much each pixel counts."""
        sizes: PictureTokenizerConfig = getattr(self.config, part)
        name = TOKENIZERS[part]

        def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            rows = rng.integers(len(self.pictures), size=batch)
            weights = self.pictures.weights(name, rows, sizes.objects)
            return self.pictures.values(name, rows), weights

        return draw

    def run(self, parts: Sequence[str] = PARTS) -> None:
        """Train the parts in order."""
        run_parts(self.train, parts, PARTS)

    def _token_drawer(
        self, tasks: Sequence[TokenTask], batch: int
    ) -> Callable[[np.random.Generator], Mapping[str, Tensor]]:
        """Draws tokens of what the tasks need, and what the auxiliary loss asks."""
        needed = {name for task in tasks for name in (*task.given, task.target)}
        parts = [part for part, name in TOKENIZERS.items() if name in needed]
        tokens = {TOKENIZERS[part]: self.tokens(part) for part in parts}

        def draw(rng: np.random.Generator) -> Mapping[str, Tensor]:
            rows = rng.integers(len(self.pictures), size=batch)
            scenes = [self.pictures.scenes[row] for row in rows]
            captions = caption_ids([scene.caption for scene in scenes], self.text_tokenizer)
            drawn = {name: ids[rows] for name, ids in tokens.items()}
            return with_layout({"caption": captions, **drawn}, scenes)

        return draw

    @torch.no_grad()
    def tokens(self, part: str) -> Tensor:
        """[P, L] tokens of all pictures; kept on disk for as long as the tokenizer is the same."""
        name, steps = TOKENIZERS[part], self.load(part)
        file = self.run_dir / "pictures" / f"tokens_{part}_{steps}_{len(self.pictures)}.safetensors"
        if not file.exists():
            starts = range(0, len(self.pictures), 64)
            values = (self.pictures.values(name, slice(first, first + 64)) for first in starts)
            ids = torch.cat([self.tokenizers[part].encode(each) for each in values])
            write_atomic(file, partial(save_file, {name: ids}))
        return load_file(file)[name]
