"""The shapes of the two networks: what the weights of a checkpoint must look like."""

from dataclasses import dataclass

from base.errors import ConfigError


@dataclass(frozen=True)
class InfinityConfig:
    """The transformer. Defaults are those shared by the official 2B and 8B models.

    Attributes:
        depth: number of blocks.
        embed_dim: width C.
        num_heads: heads H of self- and cross-attention.
        bits: bits per token d that the transformer predicts (after patchify: 4 x the tokenizer's).
        text_channels: width D_t of the text encoder's features.
        text_maxlen: rows of the learned unconditional text.
        block_chunks: how many chunks the blocks are stored in (keys `block_chunks.{i}.module.{j}`);
            1 stores them flat as `blocks.{i}`.
        rope2d_normalized_by_hw: how grid coordinates enter RoPE: 2 official, 0 plain, 1 resized.
        cross_attn_layer_scale: 0 or more adds a learned gate to cross-attention.
    """

    depth: int
    embed_dim: int
    num_heads: int
    bits: int
    text_channels: int = 2048
    text_maxlen: int = 512
    mlp_ratio: float = 4.0
    block_chunks: int = 8
    shared_aln: bool = True
    head_aln: bool = True
    head_depth: int = 1
    cos_attn: bool = True
    rms_norm: bool = False
    nm0: bool = False
    swiglu: bool = False
    rand_uncond: bool = False
    cross_attn_layer_scale: float = -1.0
    add_lvl_embeding_only_first_block: bool = True
    rope2d_normalized_by_hw: int = 2
    apply_spatial_patchify: bool = False
    cond_drop_rate: float = 0.1
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.embed_dim % self.num_heads or (self.embed_dim // self.num_heads) % 4:
            raise ConfigError(
                f"embed_dim {self.embed_dim} with {self.num_heads} heads gives no head width that "
                "is a multiple of 4, which RoPE in two dimensions needs"
            )
        if self.ffn_hidden < 256:
            raise ConfigError(
                f"embed_dim {self.embed_dim} x mlp_ratio {self.mlp_ratio} rounds to a feed-forward "
                "of width 0; it is rounded to multiples of 256. Choose a larger mlp_ratio"
            )
        if self.depth % self.block_chunks:
            raise ConfigError(
                f"depth {self.depth} is not a multiple of block_chunks {self.block_chunks}"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head, c."""
        return self.embed_dim // self.num_heads

    @property
    def ffn_hidden(self) -> int:
        """Hidden width of the feed-forward: the nearest multiple of 256, ties to even."""
        hidden = 256 * round(self.embed_dim * self.mlp_ratio / 256)
        return 256 * round(2 * hidden / 3 / 256) if self.swiglu else hidden

    @property
    def pool_heads(self) -> int:
        """Heads of the attention that pools the text into one vector."""
        return self.text_channels // (64 if self.embed_dim > 4096 else 128)


@dataclass(frozen=True)
class VAEConfig:
    """The BSQ-VAE tokenizer.

    Attributes:
        codebook_dim: bits per latent cell.
        base_ch, ch_mult: channels per level, from fine to coarse.
        patch_size: pixels per latent cell and side (8 or 16 in the official ones).
        stem_patch: pixels folded into channels before the first convolution (1 officially); the
            small model uses 4, which keeps full-resolution convolutions out of its budget.
    """

    codebook_dim: int
    base_ch: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 4, 4, 4)
    num_res_blocks: int = 2
    patch_size: int = 16
    stem_patch: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "ch_mult", tuple(self.ch_mult))
        halvings = self.num_halvings
        if self.stem_patch * 2**halvings != self.patch_size or halvings >= len(self.ch_mult) + 1:
            raise ConfigError(
                f"patch_size {self.patch_size} is not stem_patch {self.stem_patch} times a power "
                f"of two that {len(self.ch_mult)} levels can give"
            )

    @property
    def num_halvings(self) -> int:
        """How many levels end in a stride-2 convolution."""
        return (self.patch_size // self.stem_patch).bit_length() - 1
