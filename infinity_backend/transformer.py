"""The Infinity transformer: parameters, text conditioning, and the teacher-forced forward pass.

Stepwise generation over an explicit state is in `generate.py`.

Shapes: B images, R rows (a row is one branch of one image), T text tokens (padded, with a mask),
n tokens of a scale, C width, d bits per token.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinity_backend.architecture import InfinityConfig
from infinity_backend.bsq import Grid
from infinity_backend.layers import Block, HeadNorm, RMSNorm, TextPool, affine_norm
from infinity_backend.rope import rope_table
from infinity_backend.text import TextCondition


class PooledText(nn.Module):
    """Holds the pooling under the key `text_proj_for_sos.ca`."""

    def __init__(self, config: InfinityConfig):
        super().__init__()
        self.ca = TextPool(config)


class Infinity(nn.Module):
    """Predicts, for every cell of a scale at once, d independent bits (Infinity, CVPR 2025)."""

    def __init__(self, config: InfinityConfig):
        super().__init__()
        self.config = config
        width, text_width = config.embed_dim, config.text_channels
        uncond = torch.randn(config.text_maxlen, text_width) / text_width**0.5
        if config.rand_uncond:
            self.register_buffer("cfg_uncond", uncond)
        else:
            self.cfg_uncond = nn.Parameter(uncond)
        self.text_norm = RMSNorm(text_width, config.norm_eps)
        self.text_proj_for_sos = PooledText(config)
        self.text_proj_for_ca = nn.Sequential(
            nn.Linear(text_width, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.pos_start = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.lvl_embed = nn.Embedding(15, width)
        nn.init.normal_(self.lvl_embed.weight, std=width**-0.5)
        self.norm0_ve = nn.LayerNorm(config.bits, eps=config.norm_eps) if config.nm0 else None
        self.word_embed = nn.Linear(config.bits, width)
        if config.shared_aln:
            self.shared_ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        blocks = [Block(config) for _ in range(config.depth)]
        if config.block_chunks == 1:
            self.blocks = nn.ModuleList(blocks)
        else:
            size = config.depth // config.block_chunks
            self.block_chunks = nn.ModuleList(
                Chunk(blocks[start : start + size]) for start in range(0, config.depth, size)
            )
        self.head_nm = HeadNorm(config) if config.head_aln else None
        self.head = self._head(config)

    @staticmethod
    def _head(config: InfinityConfig) -> nn.Module:
        width, outputs = config.embed_dim, 2 * config.bits
        layers: list[nn.Module] = [] if config.head_aln else [affine_norm(config)]
        if config.head_depth == 2:
            layers += [nn.Linear(width, width), nn.GELU(approximate="tanh")]
        layers.append(nn.Linear(width, outputs))
        return layers[0] if len(layers) == 1 else nn.Sequential(*layers)

    def block_list(self) -> list[Block]:
        """All blocks in order, however they are stored."""
        if hasattr(self, "blocks"):
            return list(self.blocks)  # type: ignore[arg-type]
        return [block for chunk in self.block_chunks for block in chunk.module]  # type: ignore

    def condition(self, text: TextCondition) -> tuple[Tensor, Tensor, Tensor]:
        """Text features to what the blocks need.

        Returns:
            pooled [R, C]; shared modulation [R, 6, C] (or the pooled text, without shared adaLN);
            text for cross-attention [R, T, C].
        """
        normed = self.text_norm(text.features)
        pooled = self.text_proj_for_sos.ca(normed, text.mask)
        shared = pooled
        if self.config.shared_aln:
            shared = self.shared_ada_lin(pooled.float()).unflatten(-1, (6, -1))
        return pooled, shared, self.text_proj_for_ca(normed)

    def embed(self, codes: Tensor) -> Tensor:
        """Tokens of summed codes [..., n, d] to the width of the blocks [..., n, C]."""
        if self.norm0_ve is not None:
            codes = self.norm0_ve(codes)
        return self.word_embed(codes)

    def level_embedding_blocks(self) -> set[int]:
        """The blocks before which the level embedding is added."""
        if self.config.add_lvl_embeding_only_first_block:
            return {0}
        return set(range(0, self.config.depth, self.config.depth // self.config.block_chunks))

    def logits(self, x: Tensor, head_modulation: tuple[Tensor, Tensor] | None) -> Tensor:
        """Tokens [..., n, C] to logits [..., n, 2d] in float32: entries 2b, 2b+1 are of bit b."""
        x = x.float()
        return self.head(x if self.head_nm is None else self.head_nm(x, *head_modulation))  # type: ignore[misc]

    def forward(
        self,
        text: TextCondition,
        inputs: Tensor,
        schedule: Sequence[Grid],
        rope_grid: Grid,
        return_features: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Teacher-forced pass: all scales at once, each seeing itself and the earlier ones.

        Args:
            text: conditions of B rows. Drop some for guidance with `TextCondition.dropped`.
            inputs: [B, sum(n) - 1, d] the inputs of scales 1 and up, one after another.
            schedule: grids in tokens; may be a prefix of the full one.
            rope_grid: see `PipelineConfig`.
            return_features: also return the tokens before the head [B, sum(n), C].

        Returns:
            Logits [B, sum(n), 2d].
        """
        config = self.config
        pooled, shared, text_tokens = self.condition(text)
        x = torch.cat([pooled[:, None] + self.pos_start, self.embed(inputs)], dim=1)
        counts = torch.tensor([height * width for height, width in schedule])
        scale_of = torch.repeat_interleave(torch.arange(len(counts)), counts).to(x.device)  # [n]
        tables = [
            rope_table(grid, rope_grid, config.head_dim, config.rope2d_normalized_by_hw)
            for grid in schedule
        ]
        rope = torch.cat(tables).to(x.device)
        causal = scale_of[:, None] >= scale_of[None]  # [n, n]
        text_mask = text.mask[:, None, None]  # [B, 1, 1, T]
        levels = self.lvl_embed(scale_of)
        add_level = self.level_embedding_blocks()
        for index, block in enumerate(self.block_list()):
            if index in add_level:
                x = x + levels
            modulation = block.modulation(shared)[:, None].unbind(2)  # each [B, 1, C]

            def attend(q: Tensor, k: Tensor, v: Tensor, scale: float = block.sa.scale) -> Tensor:
                return _attention(q, k, v, causal, scale)

            k_text, v_text = block.ca.keys_values(text_tokens)

            def attend_text(
                q: Tensor, k: Tensor = k_text, v: Tensor = v_text, scale: float = block.ca.scale
            ) -> Tensor:
                return _attention(q, k, v, text_mask, scale)

            x = x + block.self_attention(x, modulation, rope, attend)
            x = x + block.cross_attention(x, attend_text)
            x = x + block.feed_forward(x, modulation)
        head_modulation = None
        if self.head_nm is not None:
            scale, shift = self.head_nm.modulation(pooled)[:, None].unbind(2)
            head_modulation = (scale, shift)
        logits = self.logits(x, head_modulation)
        return (logits, x) if return_features else logits


class Chunk(nn.Module):
    """A few blocks under the key `module`."""

    def __init__(self, blocks: Sequence[Block]):
        super().__init__()
        self.module = nn.ModuleList(blocks)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """[B, n, H, c] queries and [B, m, H, c] keys under a mask -> [B, n, H, c]."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.transpose(1, 2)
