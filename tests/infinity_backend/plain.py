"""A plain path: the specification read top to bottom, one image and one row at a time.

It takes nothing from the package but the configuration and the names of the weights: no packing,
no groups, no shared chunks, no fused attention. The package's fast path must give the same numbers
(`test_plain_path.py`); section numbers are those of the specification of the reference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.config import PipelineConfig
from tests.infinity_backend.plain_layers import PlainLayers, PlainRow, State


@dataclass
class PlainStage:
    """What one stage of all images gave, and how close a decision was to falling otherwise."""

    logits: list[Tensor]  # per image [n, 2d], divided by tau, guidance mixed in
    signs: list[Tensor | None]  # per image [h', w', d']: 1, -1, or 0 where a pruned token adds none
    codes: Tensor  # [B, d', H', W'], the sum so far
    margin: float
    gap: float


class Plain(PlainLayers):
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
        super().__init__(weights, config)
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
