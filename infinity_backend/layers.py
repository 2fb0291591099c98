"""The parts of a block. Keys are those of the official checkpoints; mathematics only, no state.

Shapes: tokens are [..., n, C]; heads [..., n, H, c]. The leading dimensions are rows when all rows
have equally many tokens, or 1 when tokens of unequal rows are packed one after another.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinity_backend.architecture import InfinityConfig
from infinity_backend.rope import rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
MAX_SCALE = math.log(100.0)


def plain_norm(x: Tensor, eps: float, rms: bool) -> Tensor:
    """Layer (or RMS) normalisation without weights, in float32."""
    x = x.float()
    if rms:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return F.layer_norm(x, x.shape[-1:], eps=eps)


class RMSNorm(nn.Module):
    """x / rms(x) * weight, in float32."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return (plain_norm(x, self.eps, rms=True) * self.weight).to(x.dtype)


def affine_norm(config: InfinityConfig) -> nn.Module:
    """The normalisation with weights that the configuration asks for."""
    if config.rms_norm:
        return RMSNorm(config.embed_dim, config.norm_eps)
    return nn.LayerNorm(config.embed_dim, eps=config.norm_eps)


class SelfAttention(nn.Module):
    """Multi-head attention over this and all earlier scales, without any mask."""

    zero_k_bias: Tensor

    def __init__(self, config: InfinityConfig):
        super().__init__()
        width, heads = config.embed_dim, config.num_heads
        self.heads, self.cosine = heads, config.cos_attn
        self.scale = 1.0 if config.cos_attn else config.head_dim**-0.5
        if config.cos_attn:
            self.scale_mul_1H11 = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4.0)))
        self.mat_qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rope: Tensor, attend: Attend) -> Tensor:
        """Tokens [..., n, C], rope [..., n, c/2] -> [..., n, C]; `attend` knows the cache."""
        bias = torch.cat([self.q_bias, self.zero_k_bias, self.v_bias])
        qkv = F.linear(x, self.mat_qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.unbind(-3)  # each [..., n, H, c]
        if self.cosine:
            strength = self.scale_mul_1H11.clamp(max=MAX_SCALE).exp().view(-1, 1)  # [H, 1]
            q, k = F.normalize(q, dim=-1) * strength, F.normalize(k, dim=-1)
        return self.proj(attend(rotate(q, rope), rotate(k, rope), v).flatten(-2))


class CrossAttention(nn.Module):
    """Multi-head attention to the row's own text."""

    zero_k_bias: Tensor

    def __init__(self, config: InfinityConfig):
        super().__init__()
        width = config.embed_dim
        self.heads, self.scale = config.num_heads, config.head_dim**-0.5
        self.mat_q = nn.Linear(width, width)
        self.mat_kv = nn.Linear(width, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def keys_values(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Projected text [..., T, C] to keys and values [..., T, H, c]."""
        bias = torch.cat([self.zero_k_bias, self.v_bias])
        kv = F.linear(text, self.mat_kv.weight, bias).unflatten(-1, (2, self.heads, -1))
        return kv[..., 0, :, :], kv[..., 1, :, :]

    def forward(self, x: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """Tokens [..., n, C] -> [..., n, C]; `attend` holds the text's keys and values."""
        q = self.mat_q(x).unflatten(-1, (self.heads, -1))
        return self.proj(attend(q).flatten(-2))


class FeedForward(nn.Module):
    """Two linear layers with GELU (tanh form), or SwiGLU without biases."""

    def __init__(self, config: InfinityConfig):
        super().__init__()
        width, hidden, bias = config.embed_dim, config.ffn_hidden, not config.swiglu
        if config.swiglu:
            self.fcg = nn.Linear(width, hidden, bias=False)
        self.fc1 = nn.Linear(width, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "fcg"):
            return self.fc2(F.silu(self.fcg(x)) * self.fc1(x))
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class UnusedWeight(nn.Module):
    """A weight that RMS-norm checkpoints hold and nothing applies."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each giving a gated residual update.

    The three methods return the update; the caller adds it, since pruning may restore it first.
    `modulation` is (gamma1, gamma2, scale1, scale2, shift1, shift2), each broadcastable to x.
    """

    def __init__(self, config: InfinityConfig):
        super().__init__()
        width = config.embed_dim
        self.eps, self.rms, self.shared = config.norm_eps, config.rms_norm, config.shared_aln
        if config.shared_aln:
            self.ada_gss = nn.Parameter(torch.randn(1, 1, 6, width) / width**0.5)
        else:
            self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.sa = SelfAttention(config)
        self.ca = CrossAttention(config)
        self.ffn = FeedForward(config)
        self.ca_norm = affine_norm(config)
        if config.rms_norm:
            self.ln_wo_grad = UnusedWeight(width)
        if config.cross_attn_layer_scale >= 0:
            self.ca_gamma = nn.Parameter(torch.full((width,), config.cross_attn_layer_scale))

    def modulation(self, condition: Tensor) -> Tensor:
        """[R, 6, C] from the shared vector [R, 6, C], or from the pooled text [R, C]."""
        if self.shared:
            return self.ada_gss[0] + condition
        return self.ada_lin(condition).unflatten(-1, (6, -1))

    def self_attention(
        self, x: Tensor, modulation: tuple[Tensor, ...], rope: Tensor, attend: Attend
    ) -> Tensor:
        """Gated update of self-attention, [..., n, C] float32."""
        gate, _, scale, _, shift, _ = modulation
        h = plain_norm(x, self.eps, self.rms) * (1 + scale) + shift
        return self.sa(h.to(self.sa.proj.weight.dtype), rope, attend).float() * gate

    def cross_attention(self, x: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """Gated update of cross-attention, [..., n, C] float32."""
        out = self.ca(self.ca_norm(x).to(self.ca.proj.weight.dtype), attend).float()
        return out * self.ca_gamma if hasattr(self, "ca_gamma") else out

    def feed_forward(self, x: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """Gated update of the feed-forward, [..., n, C] float32."""
        _, gate, _, scale, _, shift = modulation
        h = plain_norm(x, self.eps, self.rms) * (1 + scale) + shift
        return self.ffn(h.to(self.ffn.fc2.weight.dtype)).float() * gate


class TextPool(nn.Module):
    """One learned query attends to a row's text: [R, T, D_t] -> [R, C]."""

    zero_k_bias: Tensor

    def __init__(self, config: InfinityConfig):
        super().__init__()
        width, heads = config.embed_dim, config.pool_heads
        self.heads = heads
        self.mat_q = nn.Parameter(torch.randn(1, heads, width // heads) * (heads / width) ** 0.5)
        self.mat_kv = nn.Linear(config.text_channels, 2 * width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("zero_k_bias", torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, text: Tensor, mask: Tensor) -> Tensor:
        """Text [R, T, D_t] with mask [R, T] (True where there is text) -> [R, C]."""
        bias = torch.cat([self.zero_k_bias, self.v_bias])
        kv = F.linear(text, self.mat_kv.weight, bias).unflatten(-1, (2, self.heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4)  # each [R, heads, T, width / heads]
        q = self.mat_q.unsqueeze(2).expand(len(text), -1, -1, -1)  # [R, heads, 1, width / heads]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return self.proj(out.flatten(1))


class HeadNorm(nn.Module):
    """Adaptive normalisation before the head: scale then shift, no gate."""

    def __init__(self, config: InfinityConfig):
        super().__init__()
        self.eps, self.rms = config.norm_eps, config.rms_norm
        self.ada_lin = nn.Sequential(nn.SiLU(), nn.Linear(config.embed_dim, 2 * config.embed_dim))

    def modulation(self, pooled: Tensor) -> Tensor:
        """[R, 2, C] from the pooled text [R, C]."""
        return self.ada_lin(pooled).unflatten(-1, (2, -1))

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return plain_norm(x, self.eps, self.rms) * (1 + scale) + shift
