"""PoseFormer: keypoints of clips to glosses, by convolutions over time and a transformer.

T frames, B clips, F features a frame, D width, H heads, C classes. Names of submodules are those
of the published checkpoints. Masks are True where a frame is ignored.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sign_backend.config import SignConfig
from sign_backend.hooks import InferenceHooks
from sign_backend.normalise import normalise, to_features, without_nan
from sign_backend.positions import ROWS_IN_FILES, PositionTable

KERNELS = (3, 5, 7, 9)


class PoseFormer(InferenceHooks, nn.Module):
    """The current model; the released ones have D 192, 8 heads, 4 layers (2 for LSE)."""

    batch_first = True  # of what hooks see: [B, T, D], and [B, 1 + T, D] of the blocks

    def __init__(self, config: SignConfig):
        super().__init__()
        self.config = config
        self._handles: dict[str, RemovableHandle] = {}
        features, width = config.d_pose, config.d_hidden
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.input_convs = nn.ModuleList(over_time(features, kernel) for kernel in KERNELS)
        self.frame_embed = FrameEmbed(features, width, config.pf_dropout)
        self.filters = nn.ModuleList(
            nn.Sequential(over_time(width, kernel), nn.GELU("tanh"), over_time(width, kernel))
            for kernel in KERNELS
        )
        self.pos_embed = PositionTable(width, (1, ROWS_IN_FILES, width))
        self.blocks = nn.ModuleList(
            Block(width, config.num_attention_heads) for _ in range(config.num_attention_layers)
        )
        self.norm = nn.LayerNorm(width)
        seen, classes = width, sum(config.num_classes)
        if config.multilingual_conditioned:
            self.language_embedding = nn.Embedding(config.num_languages, config.lang_embedding_size)
            seen += config.lang_embedding_size
        self.head = nn.Linear(seen, classes)
        if config.l1_label_norm:
            self.logit_norm = nn.LayerNorm(classes, eps=0.03)

    def hook_site(self, kind: str) -> nn.Module:
        return self.frame_embed if kind == "spatial" else self.blocks[-1]

    def forward(
        self, inputs: Tensor, language_ids: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Score the glosses.

        Args:
            inputs: [T, B, 75, 3], zeros after the end of a clip.
            language_ids: [B], which training language each clip is; None is the first.
            lengths: [B] frames of each clip: what comes out is then what the clip alone gives.
                None: as the original pads, where the end of a clip depends on the padding after it.

        Returns:
            [B, C] raw scores.
        """
        x = without_nan(to_features(normalise(inputs))).transpose(0, 1)  # [B, T, F]
        empty = x.sum(dim=2) == 0.0  # [B, T]: padding, or a frame in which nothing was found
        beyond = None
        if lengths is not None:
            frames = torch.arange(x.shape[1], device=x.device)
            beyond = frames >= lengths.to(x.device)[:, None]  # [B, T]
        for conv in self.input_convs:
            x = zeroed(x + along_time(conv, x), empty)
        y = zeroed(self.frame_embed(x), empty)  # [B, T, D]
        for pair in self.filters:
            y = zeroed(y + self._filtered(pair, y, beyond), empty)
        y = y + self.pos_embed.rows(y.shape[1])
        y = torch.cat([self.cls_token.expand(len(y), -1, -1), y], dim=1)  # [B, 1 + T, D]
        ignored = F.pad(empty, (1, 0))  # the first row never is
        for block in self.blocks:
            y = block(y, ignored)
        return self._scores(self.norm(y[:, 0]), language_ids)

    def _filtered(self, pair: nn.Module, y: Tensor, beyond: Tensor | None) -> Tensor:
        first, activation, second = pair.children()
        hidden = activation(along_time(first, y))
        if beyond is not None:  # here the first convolution's bias reaches into the padding
            hidden = zeroed(hidden, beyond)
        return along_time(second, hidden)

    def _scores(self, summary: Tensor, language_ids: Tensor | None) -> Tensor:
        if self.config.multilingual_conditioned:
            if language_ids is None:
                language_ids = torch.zeros(len(summary), dtype=torch.long)
            language = self.language_embedding(language_ids.to(summary.device))
            summary = torch.cat([summary, language], dim=1)
        scores = self.head(summary)
        return self.logit_norm(scores) if self.config.l1_label_norm else scores


class FrameEmbed(nn.Module):
    """Each frame by itself to D values: a linear way, and one of four layers."""

    def __init__(self, features: int, width: int, dropout: float):
        super().__init__()
        self.proj = frame_layers(features, width, nn.GELU("tanh"), dropout)
        self.upsample = nn.Linear(features, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(x) + self.proj(x)


class Block(nn.Module):
    """Attention between frames, then each frame by itself; norms come first."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor, ignored: Tensor) -> Tensor:
        """[B, N, D] to the same; `ignored` [B, N]."""
        x = x + self.attn(self.norm1(x), ignored)
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Self-attention in which ignored frames ask but are not looked at."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, ignored: Tensor) -> Tensor:
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, H, N, D / H]
            for part in self.qkv(x).chunk(3, dim=2)
        )
        seen = ~ignored[:, None, None]  # [B, 1, 1, N]
        mixed = F.scaled_dot_product_attention(queries, keys, values, seen)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers, twice as wide between them."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def frame_layers(features: int, width: int, activation: nn.Module, dropout: float) -> nn.Sequential:
    """Four linear layers F, 4F, 4D, 2D, D with norms; the places in the list are the names."""
    sizes = (features, 4 * features, 4 * width, 2 * width, width)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), activation, nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])  # the last layer has no activation


def over_time(channels: int, kernel: int) -> nn.Conv1d:
    """A convolution over frames, each channel by itself, as long after as before."""
    return nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)


def along_time(conv: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution to [B, T, channels]."""
    return conv(x.transpose(1, 2)).transpose(1, 2)


def zeroed(x: Tensor, where: Tensor) -> Tensor:
    """[B, T, channels] with zeros in the frames of `where` [B, T]."""
    return x.masked_fill(where[:, :, None], 0.0)
