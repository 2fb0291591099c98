"""The transformer's parts.

Glossary of shapes: B rows, N context tokens, M queries, D width, H heads, d = D / H head width.
Masks are True where something is ignored, as everywhere in this room.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourm_backend.config import Architecture


class KeysValues(NamedTuple):
    """What attention looks at: keys and values, [B, H, N, d] each."""

    keys: Tensor
    values: Tensor

    def append(self, other: "KeysValues") -> "KeysValues":
        """These and then the others."""
        return KeysValues(
            torch.cat([self.keys, other.keys], 2), torch.cat([self.values, other.values], 2)
        )

    def padded(self, count: int) -> "KeysValues":
        """With zeros up to `count` tokens."""
        more = (0, 0, 0, count - self.keys.shape[2])
        return KeysValues(F.pad(self.keys, more), F.pad(self.values, more))


class RoomyKeysValues:
    """Keys and values with room for more: appending writes into the room and copies nothing.

    For a loop that only goes on: what was there before an `append` shares the room with what is
    there after it.

    Args:
        first: what is there already.
        room: tokens in all.
    """

    def __init__(self, first: "Past", room: int):
        size = (*first.keys.shape[:2], room, first.keys.shape[3])
        self._keys, self._values = first.keys.new_empty(size), first.values.new_empty(size)
        self._count = 0
        self.append(first)

    @property
    def keys(self) -> Tensor:
        """[B, H, N, d] of what is there."""
        return self._keys[:, :, : self._count]

    @property
    def values(self) -> Tensor:
        """[B, H, N, d] of what is there."""
        return self._values[:, :, : self._count]

    def append(self, other: "Past") -> "RoomyKeysValues":
        """Itself, with the others."""
        end = self._count + other.keys.shape[2]
        self._keys[:, :, self._count : end] = other.keys
        self._values[:, :, self._count : end] = other.values
        self._count = end
        return self


Past = KeysValues | RoomyKeysValues


class Norm(nn.Module):
    """Layer normalisation; without a bias the weights still hold one, of zeros."""

    def __init__(self, width: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        if bias:
            self.bias = nn.Parameter(torch.zeros(width))
        else:
            self.register_buffer("bias", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, 1e-6)


def attend(queries: Tensor, context: Past, ignored: Tensor | None) -> Tensor:
    """Attention, [B, M, H * d].

    A query that may look at nothing sees the mean of all values, as in the published models: what
    is ignored gets the lowest finite score, not minus infinity.

    Args:
        queries: [B, H, M, d].
        context: keys and values.
        ignored: [B, 1 or M, N] bool, or None where everything is looked at.
    """
    mask = None
    if ignored is not None:
        lowest = torch.finfo(queries.dtype).min
        mask = ignored.unsqueeze(1).to(queries.dtype) * lowest  # [B, 1, 1 or M, N]
    mixed = F.scaled_dot_product_attention(queries, context.keys, context.values, mask)
    return mixed.transpose(1, 2).flatten(2)


def _heads(x: Tensor, heads: int) -> Tensor:
    """[B, N, D] to [B, H, N, d]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values."""

    def __init__(self, config: Architecture):
        super().__init__()
        dim = config.dim
        self.heads = config.num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=config.qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=config.proj_bias)
        self.q_norm, self.k_norm = _qk_norms(config)

    def forward(
        self, x: Tensor, ignored: Tensor | None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """Attend from x to `past` and x.

        Returns:
            [B, M, D], and the keys and values of x and the past.
        """
        queries, keys, values = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=2))
        own = KeysValues(self.k_norm(keys), values)
        context: Past = own if past is None else past.append(own)
        return self.proj(attend(self.q_norm(queries), context, ignored)), context


class CrossAttention(nn.Module):
    """Attention from decoder to context."""

    def __init__(self, config: Architecture):
        super().__init__()
        dim = config.dim
        self.heads = config.num_heads
        self.q = nn.Linear(dim, dim, bias=config.qkv_bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=config.qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=config.proj_bias)
        self.q_norm, self.k_norm = _qk_norms(config)

    def keys_values(self, context: Tensor) -> KeysValues:
        """Keys and values of a context [B, N, D]."""
        keys, values = (_heads(part, self.heads) for part in self.kv(context).chunk(2, dim=2))
        return KeysValues(self.k_norm(keys), values)

    def forward(self, x: Tensor, context: KeysValues, ignored: Tensor | None) -> Tensor:
        """Attend from x [B, M, D]; an empty context gives zeros before the last projection."""
        if context.keys.shape[2] == 0:
            return self.proj(torch.zeros_like(x))
        queries = self.q_norm(_heads(self.q(x), self.heads))
        mixed = attend(queries, context, ignored)
        if ignored is not None:  # a row without any context must not see its padding
            mixed = mixed.masked_fill(ignored.all(dim=2, keepdim=True), 0.0)
        return self.proj(mixed)


def _qk_norms(config: Architecture) -> tuple[nn.Module, nn.Module]:
    if not config.qk_norm:
        return nn.Identity(), nn.Identity()
    width = config.dim // config.num_heads
    return Norm(width, config.norm_bias), Norm(width, config.norm_bias)


class FeedForward(nn.Module):
    """Two layers, or three with a gate."""

    def __init__(self, config: Architecture):
        super().__init__()
        dim, hidden, bias = config.dim, config.mlp_hidden, config.mlp_bias
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, dim, bias=bias)
        self.fc3 = nn.Linear(dim, hidden, bias=bias) if config.gated_mlp else None
        self.activation = F.silu if config.act_layer == "SiLU" else F.gelu

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.fc1(x))
        return self.fc2(hidden if self.fc3 is None else hidden * self.fc3(x))


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: Architecture):
        super().__init__()
        self.norm1 = Norm(config.dim, config.norm_bias)
        self.attn = Attention(config)
        self.norm2 = Norm(config.dim, config.norm_bias)
        self.mlp = FeedForward(config)

    def forward(
        self, x: Tensor, ignored: Tensor | None, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """Return x after the block, and keys and values of x and the past."""
        update, context = self.attn(self.norm1(x), ignored, past)
        x = x + update
        return x + self.mlp(self.norm2(x)), context


class DecoderBlock(nn.Module):
    """Self-attention, attention to the context, feed-forward."""

    def __init__(self, config: Architecture):
        super().__init__()
        self.norm1 = Norm(config.dim, config.norm_bias)
        self.self_attn = Attention(config)
        self.query_norm = Norm(config.dim, config.norm_bias)
        self.context_norm = Norm(config.dim, config.norm_bias)
        self.cross_attn = CrossAttention(config)
        self.norm2 = Norm(config.dim, config.norm_bias)
        self.mlp = FeedForward(config)

    def keys_values(self, context: Tensor) -> KeysValues:
        """What this block looks at in a context [B, N, D]."""
        return self.cross_attn.keys_values(self.context_norm(context))

    def forward(
        self,
        y: Tensor,
        context: KeysValues,
        context_ignored: Tensor | None,
        self_ignored: Tensor | None,
        past: Past | None = None,
    ) -> tuple[Tensor, Past]:
        """Return y after the block, and keys and values of y and the past."""
        update, own = self.self_attn(self.norm1(y), self_ignored, past)
        y = y + update
        y = y + self.cross_attn(self.query_norm(y), context, context_ignored)
        return y + self.mlp(self.norm2(y)), own
