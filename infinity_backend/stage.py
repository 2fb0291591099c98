"""One stage of the transformer for a batch of unequal rows: the forward pass of generation.

Linear layers see the tokens of all rows at once; attention runs per group of equal rows.

Shapes: G requests of a group, R rows of a group, L tokens of the stage, n kept tokens, C width,
c head width.
"""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from infinity_backend.attention import attend_cache, attend_text
from infinity_backend.bsq import Grid
from infinity_backend.config import PipelineConfig
from infinity_backend.groups import Group, GroupOutput, GroupRun, pack_groups
from infinity_backend.guidance import guided_logits, mix_in_between, mixing_blocks
from infinity_backend.layers import Block
from infinity_backend.packing import Packing
from infinity_backend.pruning import gather, scatter
from infinity_backend.restoration import cached_update, carried_entropy
from infinity_backend.rope import rope_on
from infinity_backend.token_choice import bring_back, choose, kept_rope, leave_once, take_out
from infinity_backend.transformer import Infinity

Observe = Callable[[str, Tensor], None]


class StageRun:
    """The forward pass of one stage; made for one call and then dropped."""

    def __init__(
        self,
        model: Infinity,
        config: PipelineConfig,
        stage: int,
        groups: Sequence[Group],
        cfg: float,
        observe: Observe | None = None,
    ):
        self.model, self.config, self.stage, self.cfg = model, config, stage, cfg
        self.grid: Grid = config.schedule[stage]
        self.tokens = self.grid[0] * self.grid[1]
        last = stage + 1 == len(config.schedule)
        self.groups = [GroupRun.start(group, keeps=not last) for group in groups]
        self.observe = observe
        transformer = config.infinity
        self.rope = rope_on(
            model.pos_start.device,
            self.grid,
            config.rope_grid,
            transformer.head_dim,
            transformer.rope2d_normalized_by_hw,
        )  # [L, c/2]
        self.prunes = any(group.kept < self.tokens for group in groups)
        self.full = pack_groups(groups, [self.tokens] * len(groups))
        self.kept = pack_groups(groups, [group.kept for group in groups])
        self.attended = pack_groups(groups, [group.attended for group in groups])

    def __call__(
        self, inputs: Sequence[Tensor], changes: Sequence[Tensor] | None = None
    ) -> list[GroupOutput]:
        """Run all blocks and the head.

        Args:
            inputs: per group, embedded tokens of all R rows [R, L, C], conditional ones first.
            changes: per group, how much the last stage changed the codes of each token [G, L];
                only the selection `change` looks at it.
        """
        pruning = self.config.pruning
        for number, run in enumerate(self.groups):
            run.entropy = carried_entropy(run, pruning, self.grid)
            run.change = None if changes is None else changes[number]
        levels, mix_after = self.model.level_embedding_blocks(), mixing_blocks(self.config)
        changing = levels | {index + 1 for index in mix_after}
        aside = self.prunes and leave_once(self.config, self.tokens, changing)
        leaves = aside or pruning.restore == "no_code"  # else each sub-layer chooses by itself
        x = self.full.pack(list(inputs))
        packing, rope = self.full, self.rope
        kept: list[Tensor] | None = None  # per group [G, n], while pruned tokens are away
        before = x
        for index, block in enumerate(self.model.block_list()):
            if index in levels:
                x = x + self.model.lvl_embed.weight[self.stage]
            prunable = self.prunes and pruning.first_block <= index <= pruning.last_block
            if prunable and leaves and kept is None:
                before, packing = x, self.kept
                parts, kept = take_out(self.groups, pruning, self.full.unpack(x))
                rows = [run.every_branch(i) for run, i in zip(self.groups, kept, strict=True)]
                x, rope = packing.pack(parts), kept_rope(self.groups, rows, packing, self.rope)
            if prunable and not leaves:
                x = self._restored_block(index, block, x)
            else:
                x = self._dense_block(index, block, x, packing, rope)
            if aside and kept is not None and index == pruning.last_block:
                now, then = packing.unpack(x), self.full.unpack(before)
                x = self.full.pack(bring_back(self.groups, pruning, self.grid, then, now, kept))
                packing, rope, kept = self.full, self.rope, None
            if index in mix_after:
                x = mix_in_between(self.groups, x, packing, self.cfg)
            self._note(f"block{index}_out", x)
        logits = guided_logits(self.model, self.config, self.groups, x, packing, self.cfg)
        return [
            run.output(part, None if kept is None else kept[number], self.tokens, self.grid)
            for number, (run, part) in enumerate(zip(self.groups, logits, strict=True))
        ]

    def _note(self, name: str, value: Tensor) -> None:
        if self.observe is not None:
            self.observe(name, value)

    def _dense_block(
        self, index: int, block: Block, x: Tensor, packing: Packing, rope: Tensor
    ) -> Tensor:
        """All tokens of the packing through the three sub-layers."""
        modulation = self._modulation(block, packing)
        for number in range(3):
            update = self._update(number, index, block, x, modulation, packing, rope)
            self._remember(index, packing, update)
            x = x + update
        return x

    def _restored_block(self, index: int, block: Block, x: Tensor) -> Tensor:
        """Each sub-layer on the tokens it selects; the others get the cached update (5.2, 5.3)."""
        pruning = self.config.pruning
        for number in range(3):
            packing = self.attended if number == 0 else self.kept
            if number == 0 and pruning.measures_at(index, self.tokens):
                packing = self.full
            modulation = self._modulation(block, packing)
            streams = self.full.unpack(x)
            chosen = [
                choose(run, pruning, stream, kept) if kept < self.tokens else None
                for run, stream, (_, kept) in zip(self.groups, streams, packing.shapes, strict=True)
            ]
            pairs = list(zip(chosen, streams, strict=True))
            tokens = packing.pack([s if i is None else gather(s, i) for i, s in pairs])
            rope = self.rope if number else kept_rope(self.groups, chosen, packing, self.rope)
            update = self._update(number, index, block, tokens, modulation, packing, rope)
            for indices in chosen:
                if indices is not None:
                    self._note("keep", indices)
            parts = packing.unpack(update)
            full = self.full.pack(
                [
                    part
                    if indices is None
                    else scatter(
                        cached_update(run, pruning, self.grid, index, number), indices, part
                    )
                    for run, indices, part in zip(self.groups, chosen, parts, strict=True)
                ]
            )
            self._remember(index, self.full, full)
            x = x + full
        return x

    def _modulation(self, block: Block, packing: Packing) -> tuple[Tensor, ...]:
        rows = [block.modulation(run.modulation) for run in self.groups]  # each [R, 6, C]
        return packing.spread(rows).unbind(-2)

    def _update(
        self,
        number: int,
        index: int,
        block: Block,
        x: Tensor,
        modulation: tuple[Tensor, ...],
        packing: Packing,
        rope: Tensor,
    ) -> Tensor:
        """The gated update of sub-layer 0 (self-), 1 (cross-attention) or 2 (feed-forward)."""
        if number == 0:
            if rope.shape[-2] != x.shape[-2]:  # a dense packing of several groups
                rope = packing.pack([self.rope.expand(rows, -1, -1) for rows, _ in packing.shapes])
            measure = self.config.pruning.measures_at(index, self.tokens)
            attend = partial(attend_cache, self.groups, packing, index, block.sa.scale, measure)
            return block.self_attention(x, modulation, rope, attend)
        if number == 1:
            attend = partial(attend_text, self.groups, packing, index, block.ca.scale)
            return block.cross_attention(x, attend)
        return block.feed_forward(x, modulation)

    def _remember(self, index: int, packing: Packing, update: Tensor) -> None:
        """At the cache stage, keep the full updates of prunable blocks (5.4)."""
        pruning = self.config.pruning
        if pruning.restore != "cached" or self.tokens != pruning.cache_tokens:
            return
        if pruning.first_block <= index <= pruning.last_block:
            for run, part in zip(self.groups, packing.unpack(update), strict=True):
                if run.keeps:
                    run.updates.setdefault(index, []).append(run.by_branch(part))
