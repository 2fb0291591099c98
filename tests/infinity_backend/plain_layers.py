"""The layers of the plain path: one row of tokens at a time, from the names of the weights.

Section numbers are those of the specification of the reference.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.config import PipelineConfig

State = Mapping[str, Tensor]


@dataclass
class PlainRow:
    """One row (a prompt, or its unconditional half) and what it has left behind."""

    text: Tensor  # [T, C] for cross-attention
    pooled: Tensor  # [C]
    shared: Tensor  # [6, C], or [C]
    keys: dict[int, list[Tensor]] = field(default_factory=dict)  # per block [m, H, c]
    values: dict[int, list[Tensor]] = field(default_factory=dict)
    cached: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # updates [h, w, C]
    entropy: Tensor | None = None  # [H, h, w]


class PlainLayers:
    """Text, blocks and head of one row.

    Args:
        weights: the transformer's state dict.
        config: everything else.
    """

    def __init__(self, weights: State, config: PipelineConfig):
        self.w, self.config, self.model = weights, config, config.infinity

    # Section 1: text

    def _row(self, features: Tensor) -> PlainRow:
        w, width = self.w, self.model.embed_dim
        x = features * torch.rsqrt(features.square().mean(-1, keepdim=True) + 1e-6)
        x = x * w["text_norm.weight"]
        p = "text_proj_for_sos.ca."
        heads = self.model.pool_heads
        keys, values = (x @ w[p + "mat_kv.weight"].T).split(width, dim=-1)
        keys = keys.view(-1, heads, width // heads)
        values = (values + w[p + "v_bias"]).view(-1, heads, width // heads)
        query = w[p + "mat_q"].view(heads, width // heads)
        scores = torch.einsum("hc,thc->ht", query, keys) / math.sqrt(width // heads)
        pooled = torch.einsum("ht,thc->hc", scores.softmax(-1), values).reshape(width)
        pooled = self._linear(pooled, p + "proj")
        text = self._linear(x, "text_proj_for_ca.0")
        text = self._linear(F.gelu(text, approximate="tanh"), "text_proj_for_ca.2")
        shared = pooled
        if self.model.shared_aln:
            shared = self._linear(F.silu(pooled), "shared_ada_lin.1").view(6, width)
        return PlainRow(text, pooled, shared)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    # Section 2: blocks

    def _norm(self, x: Tensor, name: str | None = None) -> Tensor:
        if self.model.rms_norm:
            x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
            return x if name is None else x * self.w[f"{name}.weight"]
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return x if name is None else x * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def _rotations(self, stage: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [L, c/2]."""
        (height, width), (last_h, last_w) = self.config.schedule[stage], self.config.rope_grid
        half, mode = self.model.head_dim // 2, self.model.rope2d_normalized_by_hw
        frequencies = torch.tensor([10000.0 ** (-2 * j / half) for j in range(half // 2)])

        def angles(y: float, x: float) -> Tensor:
            return torch.cat([y * frequencies, x * frequencies])

        if mode != 1:
            rows = []
            for i in range(height):
                for j in range(width):
                    y, x = float(i), float(j)
                    if mode == 2:
                        y = float(torch.tensor(i * (last_h / height)).round())
                        x = float(torch.tensor(j * (last_w / width)).round())
                    rows.append(angles(y, x))
            table = torch.stack(rows)
            return table.cos(), table.sin()
        crop_h = 128 if last_h >= last_w else int(128 / last_w * last_h)
        crop_w = int(128 / last_h * last_w) if last_h >= last_w else 128
        table = torch.stack(
            [torch.stack([angles(i, j) for j in range(crop_w)]) for i in range(crop_h)]
        )
        resized = []
        for part in (table.cos(), table.sin()):
            out = torch.empty(height, width, half)
            for i in range(height):
                for j in range(width):
                    y = i * (crop_h - 1) / (height - 1) if height > 1 else 0.0
                    x = j * (crop_w - 1) / (width - 1) if width > 1 else 0.0
                    top, left = int(y), int(x)
                    low, right = min(top + 1, crop_h - 1), min(left + 1, crop_w - 1)
                    a, b = y - top, x - left
                    upper = (1 - b) * part[top, left] + b * part[top, right]
                    lower = (1 - b) * part[low, left] + b * part[low, right]
                    out[i, j] = (1 - a) * upper + a * lower
            resized.append(out.view(-1, half))
        return resized[0], resized[1]

    def _self_attention(
        self,
        row: PlainRow,
        block: int,
        prefix: str,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        grid: tuple[int, int] | None,
    ) -> Tensor:
        """[n, C] -> [n, C]; with `grid` the entropy of the attention is kept, too."""
        width, heads = self.model.embed_dim, self.model.num_heads
        zero = torch.zeros(width)
        bias = torch.cat([self.w[prefix + "sa.q_bias"], zero, self.w[prefix + "sa.v_bias"]])
        qkv = x @ self.w[prefix + "sa.mat_qkv.weight"].T + bias
        q, k, v = (part.view(len(x), heads, -1) for part in qkv.split(width, dim=-1))
        scale = 1 / math.sqrt(width // heads)
        if self.model.cos_attn:
            strength = self.w[prefix + "sa.scale_mul_1H11"].view(heads, 1)
            strength = strength.clamp(max=math.log(100)).exp()
            q = q / q.norm(dim=-1, keepdim=True).clamp(min=1e-12) * strength
            k = k / k.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            scale = 1.0
        q, k = self._turn(q, rope), self._turn(k, rope)
        row.keys.setdefault(block, []).append(k)
        row.values.setdefault(block, []).append(v)
        k, v = torch.cat(row.keys[block]), torch.cat(row.values[block])
        weights = (torch.einsum("nhc,mhc->hnm", q, k) * scale).softmax(-1)
        if grid is not None:
            row.entropy = -torch.xlogy(weights, weights).sum(-1).view(heads, *grid)
        out = torch.einsum("hnm,mhc->nhc", weights, v).reshape(len(x), width)
        return self._linear(out, prefix + "sa.proj")

    @staticmethod
    def _turn(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        cos, sin = (part[:, None] for part in rope)
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)

    def _cross_attention(self, row: PlainRow, prefix: str, x: Tensor) -> Tensor:
        width, heads = self.model.embed_dim, self.model.num_heads
        q = self._linear(x, prefix + "ca.mat_q").view(len(x), heads, -1)
        k, v = (row.text @ self.w[prefix + "ca.mat_kv.weight"].T).split(width, dim=-1)
        k = k.view(-1, heads, width // heads)
        v = (v + self.w[prefix + "ca.v_bias"]).view(-1, heads, width // heads)
        scores = torch.einsum("nhc,thc->hnt", q, k) / math.sqrt(width // heads)
        out = torch.einsum("hnt,thc->nhc", scores.softmax(-1), v).reshape(len(x), width)
        out = self._linear(out, prefix + "ca.proj")
        gamma = self.w.get(prefix + "ca_gamma")
        return out if gamma is None else out * gamma

    def _feed_forward(self, prefix: str, x: Tensor) -> Tensor:
        if self.model.swiglu:
            gate = F.silu(x @ self.w[prefix + "ffn.fcg.weight"].T)
            inner = gate * (x @ self.w[prefix + "ffn.fc1.weight"].T)
            return inner @ self.w[prefix + "ffn.fc2.weight"].T
        x = F.gelu(self._linear(x, prefix + "ffn.fc1"), approximate="tanh")
        return self._linear(x, prefix + "ffn.fc2")

    def _update(
        self,
        row: PlainRow,
        block: int,
        number: int,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        grid: tuple[int, int] | None,
    ) -> Tensor:
        """The gated update of one sub-layer."""
        prefix = self._prefix(block)
        if self.model.shared_aln:
            parts = self.w[prefix + "ada_gss"].view(6, -1) + row.shared
        else:
            parts = self._linear(F.silu(row.shared), prefix + "ada_lin.1").view(6, -1)
        gamma1, gamma2, scale1, scale2, shift1, shift2 = parts
        if number == 0:
            x = self._norm(x) * (1 + scale1) + shift1
            return self._self_attention(row, block, prefix, x, rope, grid) * gamma1
        if number == 1:
            return self._cross_attention(row, prefix, self._norm(x, prefix + "ca_norm"))
        x = self._norm(x) * (1 + scale2) + shift2
        return self._feed_forward(prefix, x) * gamma2

    def _prefix(self, block: int) -> str:
        chunks = self.model.block_chunks
        if chunks == 1:
            return f"blocks.{block}."
        size = self.model.depth // chunks
        return f"block_chunks.{block // size}.module.{block % size}."

    def _head(self, row: PlainRow, x: Tensor) -> Tensor:
        first = "head"
        if self.model.head_aln:
            scale, shift = self._linear(F.silu(row.pooled), "head_nm.ada_lin.1").view(2, -1)
            x = self._norm(x) * (1 + scale) + shift
            if self.model.head_depth == 2:
                x = F.gelu(self._linear(x, "head.0"), approximate="tanh")
                first = "head.2"
        else:
            x, first = self._norm(x, "head.0"), "head.1"
            if self.model.head_depth == 2:
                x = F.gelu(self._linear(x, "head.1"), approximate="tanh")
                first = "head.3"
        return self._linear(x, first)
