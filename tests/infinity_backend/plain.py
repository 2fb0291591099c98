"""A plain path: the specification read top to bottom, one image and one row at a time.

It takes nothing from the package but the configuration and the names of the weights: no packing,
no groups, no shared chunks, no fused attention. The package's fast path must give the same numbers
(`test_plain_path.py`); section numbers are those of the specification of the reference.
"""

import math
from collections.abc import Mapping, Sequence
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


@dataclass
class PlainStage:
    """What one stage of all images gave, and how close a decision was to falling otherwise."""

    logits: list[Tensor]  # per image [n, 2d], divided by tau, guidance mixed in
    signs: list[Tensor | None]  # per image [h', w', d']: 1, -1, or 0 where a pruned token adds none
    codes: Tensor  # [B, d', H', W'], the sum so far
    margin: float
    gap: float


class Plain:
    """Generation of B images with per-stage, per-image ratios.

    Args:
        weights: the transformer's state dict.
        config: everything else.
        prompts: per image [T, D_t] features.
        negative: the same for the guidance branch, or None.
        seed: of the one random stream (`noise="sequential"`).
    """

    def __init__(
        self,
        weights: State,
        config: PipelineConfig,
        prompts: Sequence[Tensor],
        negative: Sequence[Tensor] | None = None,
        seed: int = 0,
    ):
        self.w, self.config, self.model = weights, config, config.infinity
        self.cfg = config.sampling.per_stage("cfg", len(config.schedule))
        self.tau = config.sampling.per_stage("tau", len(config.schedule))
        guided = any(value != 1.0 for value in self.cfg)
        bare = negative or [weights["cfg_uncond"][: len(prompt)] for prompt in prompts]
        branches = [prompts, bare] if guided else [prompts]
        self.images = [[self._row(text) for text in pair] for pair in zip(*branches, strict=True)]
        height, width = self._tokenizer_grid(len(config.schedule) - 1)
        self.codes = torch.zeros(len(prompts), config.vae.codebook_dim, height, width)
        self.last_codes: list[Tensor | None] = [None] * len(prompts)  # [d', h', w'], may hold 0
        self.random = torch.Generator().manual_seed(seed)
        self.gap = math.inf

    def _tokenizer_grid(self, stage: int) -> tuple[int, int]:
        factor = 2 if self.model.apply_spatial_patchify else 1
        height, width = self.config.schedule[stage]
        return height * factor, width * factor

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

    # Section 5: pruning

    def _scores(self, row: PlainRow, x: Tensor, change: Tensor | None, method: str) -> Tensor:
        if method == "change" and change is not None:
            return change
        if method == "entropy" and row.entropy is not None:
            return -row.entropy.mean(0).flatten()
        return (x - x.mean(0)).square().sum(-1)

    def _choose(self, row: PlainRow, x: Tensor, change: Tensor | None, kept: int) -> Tensor:
        """Indices of the kept tokens [n]."""
        method = self.config.pruning.selection
        if method == "hybrid" and row.entropy is not None:
            local = int(0.75 * kept)
            focused = self._best(self._scores(row, x, change, "entropy"), local)
            distance = self._scores(row, x, change, "fastvar")
            distance[focused] = -1e9
            return torch.cat([focused, self._best(distance, kept - local)])
        return self._best(self._scores(row, x, change, method), kept)

    def _best(self, scores: Tensor, kept: int) -> Tensor:
        order = scores.sort(descending=True)
        if 0 < kept < len(scores):
            last, first = order.values[kept - 1], order.values[kept]
            self.gap = min(self.gap, float((last - first) / last.abs().clamp(min=1e-9)))
        return order.indices[:kept]

    def _kept_tokens(self, tokens: int, ratio: float) -> int:
        if self.config.pruning.keep_rounding == "floor_pruned":
            return tokens - math.floor(tokens * ratio)
        return max(1, math.floor(tokens * (1.0 - ratio)))

    def _block(
        self,
        row: PlainRow,
        block: int,
        x: Tensor,
        grid: tuple[int, int],
        rope: tuple[Tensor, Tensor],
        ratio: float,
        change: Tensor | None,
    ) -> Tensor:
        """All three sub-layers of a block whose tokens come back after each of them."""
        pruning, tokens = self.config.pruning, len(x)
        inside = pruning.first_block <= block <= pruning.last_block
        entropic = pruning.selection in ("entropy", "hybrid")
        anchor = entropic and block == pruning.anchor_block and tokens >= pruning.cache_tokens
        for number in range(3):
            share = ratio * pruning.self_attention_share if number == 0 else ratio
            kept = self._kept_tokens(tokens, share) if share > 0 and inside else tokens
            if anchor and number == 0:
                kept = tokens
            measured = grid if anchor else None
            if kept == tokens:
                update = self._update(row, block, number, x, rope, measured)
            else:
                chosen = self._choose(row, x, change, kept)
                part = (rope[0][chosen], rope[1][chosen])
                update = self._restored(row, block, number, grid)
                update[chosen] = self._update(row, block, number, x[chosen], part, None)
            if inside and pruning.restore == "cached" and tokens == pruning.cache_tokens:
                row.cached[block, number] = update.view(*grid, -1)
            x = x + update
        return x

    def _restored(self, row: PlainRow, block: int, number: int, grid: tuple[int, int]) -> Tensor:
        """What pruned tokens receive [L, C]."""
        cached = row.cached.get((block, number))
        if cached is None:
            return torch.zeros(grid[0] * grid[1], self.model.embed_dim)
        return area(cached, grid).flatten(0, 1)

    # Section 4: one stage

    def stage(
        self,
        stage: int,
        ratios: Sequence[float],
        guidance: Sequence[bool],
        forced: Tensor | None = None,
    ) -> PlainStage | None:
        """Run a stage of all images; those with a ratio of 1 skip it. None where all skip."""
        self.gap, margins, logits, chosen = math.inf, [math.inf], [], []
        running = [number for number, ratio in enumerate(ratios) if ratio < 1]
        for number in running:
            if not guidance[number]:
                self.images[number] = self.images[number][:1]
            values, kept = self._logits(stage, number, ratios[number])
            logits.append(values / self.tau[stage])
            chosen.append(kept)
        if not running:
            return None
        signs: list[Tensor | None] = [None] * len(ratios)
        counts = [values.numel() // 2 for values in logits]
        noise = torch.empty(sum(counts), 2).exponential_(generator=self.random).split(counts)
        for number, values, kept, part in zip(running, logits, chosen, noise, strict=True):
            drawn, margin = self._draw(values, part)
            margins.append(margin)
            sign = self._to_tokenizer(2 * drawn - 1, kept, stage)
            if forced is not None:
                sign = 2 * forced[number] - 1
            signs[number] = sign
            code = sign.permute(2, 0, 1) / math.sqrt(sign.shape[-1])
            self.last_codes[number] = code
            self.codes[number] += linear(code, self.codes.shape[-2:])
        return PlainStage(logits, signs, self.codes.clone(), min(margins), self.gap)

    def _logits(self, stage: int, image: int, ratio: float) -> tuple[Tensor, Tensor]:
        """Logits [n, 2d] of one image, and which tokens they are of [n]."""
        config, pruning, depth = self.config, self.config.pruning, self.model.depth
        grid, rows, cfg = config.schedule[stage], self.images[image], self.cfg[stage]
        layers = config.sampling.cfg_insertion_layer
        tokens, rope = grid[0] * grid[1], self._rotations(stage)
        streams = [self._inputs(stage, image, row) for row in rows]
        change = self._change(stage, image)
        kept = torch.arange(tokens)
        entropic = pruning.selection in ("entropy", "hybrid")
        for row in rows:
            if row.entropy is not None and entropic:
                row.entropy = area(row.entropy.permute(1, 2, 0), grid).permute(2, 0, 1)
        chunk = depth // self.model.block_chunks
        for block in range(depth):
            if block == 0 or (
                not self.model.add_lvl_embeding_only_first_block and block % chunk == 0
            ):
                streams = [x + self.w["lvl_embed.weight"][stage] for x in streams]
            if pruning.restore == "no_code":
                if ratio > 0 and block == pruning.first_block:
                    count = self._kept_tokens(tokens, ratio)
                    kept = self._choose(rows[0], streams[0], change, count).sort().values
                    streams = [x[kept] for x in streams]
                    rope = (rope[0][kept], rope[1][kept])
                for index, row in enumerate(rows):
                    for number in range(3):
                        update = self._update(row, block, number, streams[index], rope, None)
                        streams[index] = streams[index] + update
            else:
                streams = [
                    self._block(row, block, x, grid, rope, ratio, change)
                    for row, x in zip(rows, streams, strict=True)
                ]
            if block - depth in layers and len(rows) == 2 and cfg != 1:
                mixed = cfg * streams[0] + (1 - cfg) * streams[1]
                streams = [mixed, mixed]
        out = [self._head(row, x) for row, x in zip(rows, streams, strict=True)]
        if 0 in layers and len(rows) == 2 and cfg != 1:
            return cfg * out[0] + (1 - cfg) * out[1], kept
        return out[0], kept

    def _inputs(self, stage: int, image: int, row: PlainRow) -> Tensor:
        if stage == 0:
            return row.pooled[None] + self.w["pos_start"][0]
        codes = linear(self.codes[image], self._tokenizer_grid(stage))  # [d', h', w']
        if self.model.apply_spatial_patchify:
            codes = fold(codes)
        codes = codes.flatten(1).T  # [L, d]
        if self.model.nm0:
            mean, variance = codes.mean(-1, keepdim=True), codes.var(-1, keepdim=True, correction=0)
            codes = (codes - mean) / torch.sqrt(variance + 1e-6)
            codes = codes * self.w["norm0_ve.weight"] + self.w["norm0_ve.bias"]
        return self._linear(codes, "word_embed")

    def _change(self, stage: int, image: int) -> Tensor:
        """How much the last stage that ran changed the codes at each token [L]."""
        code, grid = self.last_codes[image], self.config.schedule[stage]
        if code is None:
            return torch.zeros(grid[0] * grid[1])
        energy = linear(code, self._tokenizer_grid(stage)).square().sum(0)[..., None]
        return area(energy, grid).flatten()

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

    def _draw(self, logits: Tensor, noise: Tensor) -> tuple[Tensor, float]:
        """Section 4.4: bits [n, d] of one image, and how near the nearest was to the other."""
        sampling = self.config.sampling
        pairs = logits.view(-1, 2)
        difference = (pairs[:, 1] - pairs[:, 0]).abs()
        if sampling.top_k == 1:
            p = torch.where(pairs >= pairs.max(-1, keepdim=True).values, 1.0, 0.0)
            margin = float(difference.min())
        else:
            p, margin = pairs.softmax(-1), math.inf
        if sampling.top_k != 1 and sampling.top_p > 0:
            smaller = p.min(-1, keepdim=True).values
            margin = float((smaller - (1 - sampling.top_p)).abs().min())
            dropped = (p == smaller) & (smaller <= 1 - sampling.top_p) & (difference > 0)[:, None]
            p = p.masked_fill(dropped, 0.0)
        p = p / p.sum(-1, keepdim=True)
        score = (p / noise).log()
        near = (score[:, 1] - score[:, 0]).abs()
        bits = (score[:, 1] > score[:, 0]).long()
        return bits.view(len(logits), -1), min(margin, float(near.min()))

    def _to_tokenizer(self, signs: Tensor, kept: Tensor, stage: int) -> Tensor:
        """[n, d] of the kept tokens to [h', w', d'], 0 where there is none."""
        height, width = self.config.schedule[stage]
        full = torch.zeros(height * width, signs.shape[1], dtype=torch.long)
        full[kept] = signs
        if not self.model.apply_spatial_patchify:
            return full.view(height, width, -1)
        bits = signs.shape[1] // 4
        out = torch.empty(2 * height, 2 * width, bits, dtype=torch.long)
        for token in range(height * width):
            for k in range(bits):
                for u in range(2):
                    for v in range(2):
                        i, j = 2 * (token // width) + u, 2 * (token % width) + v
                        out[i, j, k] = full[token, 4 * k + 2 * u + v]
        return out


def area(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Adaptive average of [h, w, C] to [h', w', C], cell by cell (5.4)."""
    height, width = x.shape[:2]
    out = torch.empty(*grid, x.shape[2])
    for i in range(grid[0]):
        top, low = i * height // grid[0], -(-(i + 1) * height // grid[0])
        for j in range(grid[1]):
            left, right = j * width // grid[1], -(-(j + 1) * width // grid[1])
            out[i, j] = x[top:low, left:right].mean((0, 1))
    return out


def linear(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Bilinear resize of [d, h, w], corners not aligned."""
    return F.interpolate(x[None], size=tuple(grid), mode="bilinear", align_corners=False)[0]


def fold(x: Tensor) -> Tensor:
    """[d', 2h, 2w] to [4d', h, w]: channel 4k + 2u + v is bit k of sub-cell (u, v)."""
    channels, height, width = x.shape
    x = x.view(channels, height // 2, 2, width // 2, 2)
    return x.permute(0, 2, 4, 1, 3).reshape(4 * channels, height // 2, width // 2)
