"""One stage of the transformer for a batch of unequal rows: the forward pass of generation.

Linear layers see the tokens of all rows at once; attention runs per group of equal rows.

Shapes: G requests of a group, b branches, R = b * G rows of a group, L tokens of the stage,
n kept tokens, H heads, c head width, C width, d bits per token.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from infinity_backend.attention import attend_cache, attend_text
from infinity_backend.bsq import Grid
from infinity_backend.config import PipelineConfig
from infinity_backend.groups import Group, GroupOutput, GroupRun, pack_groups, text_rows
from infinity_backend.layers import Block
from infinity_backend.packing import Packing
from infinity_backend.pruning import gather, scatter
from infinity_backend.restoration import all_cached_updates, cached_update, carried_entropy
from infinity_backend.rope import rope_table
from infinity_backend.sampling import mix
from infinity_backend.selection import SELECTIONS, Evidence
from infinity_backend.state import AttentionChunk, KeyValueChunk, RestorationChunk
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
        self.groups = [GroupRun.start(group) for group in groups]
        self.observe = observe
        transformer = config.infinity
        self.rope = rope_table(
            self.grid, config.rope_grid, transformer.head_dim, transformer.rope2d_normalized_by_hw
        ).to(model.pos_start.device)  # [L, c/2]
        self.prunes = any(group.kept < self.tokens for group in groups)
        self.full = pack_groups(groups, [self.tokens] * len(groups))
        self.kept = pack_groups(groups, [group.kept for group in groups])
        self.attended = pack_groups(groups, [group.attended for group in groups])
        self.changes: Sequence[Tensor] | None = None

    def __call__(
        self, inputs: Sequence[Tensor], changes: Sequence[Tensor] | None = None
    ) -> list[GroupOutput]:
        """Run all blocks and the head.

        Args:
            inputs: per group, embedded tokens of all R rows [R, L, C], conditional ones first.
            changes: per group, how much the last stage changed the codes of each token [G, L];
                only the selection `change` looks at it.
        """
        model, pruning = self.model, self.config.pruning
        self.changes = changes
        for run in self.groups:
            run.entropy = carried_entropy(run, self.config.pruning, self.grid)
        levels = model.level_embedding_blocks()
        mix_after = self._mixing_blocks()
        x = self.full.pack(list(inputs))
        packing, rope = self.full, self.rope
        kept: list[Tensor] | None = None  # per group [G, n], while pruned tokens are away
        aside = self._sets_aside(levels | {index + 1 for index in mix_after})
        before = x
        for index, block in enumerate(model.block_list()):
            if index in levels:
                x = x + model.lvl_embed.weight[self.stage]
            prunable = self.prunes and pruning.first_block <= index <= pruning.last_block
            if pruning.restore == "no_code" or (aside and prunable):
                if prunable and kept is None:
                    before = x
                    x, rope, kept = self._drop_tokens(x)
                    packing = self.kept
                x = self._dense_block(index, block, x, packing, rope)
                if aside and kept is not None and index == pruning.last_block:
                    x = self._bring_back(before, x, kept)
                    packing, rope, kept = self.full, self.rope, None
            elif prunable:
                x = self._restored_block(index, block, x)
            else:
                x = self._dense_block(index, block, x, packing, rope)
            if index in mix_after:
                x = packing.pack(
                    [
                        self._mix_branches(run, part)
                        for run, part in zip(self.groups, packing.unpack(x), strict=True)
                    ]
                )
            self._note(f"block{index}_out", x)
        return [
            self._output(run, part, None if kept is None else kept[number])
            for number, (run, part) in enumerate(
                zip(self.groups, self._head(x, packing), strict=True)
            )
        ]

    def _note(self, name: str, value: Tensor) -> None:
        if self.observe is not None:
            self.observe(name, value)

    # Blocks ---------------------------------------------------------------------------------

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
                self._select(place, stream, kept) if kept < self.tokens else None
                for place, (stream, (_, kept)) in enumerate(
                    zip(streams, packing.shapes, strict=True)
                )
            ]
            pairs = list(zip(chosen, streams, strict=True))
            tokens = packing.pack([s if i is None else gather(s, i) for i, s in pairs])
            rope = self._kept_rope(chosen, packing) if number == 0 else self.rope
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

    def _sets_aside(self, changing: set[int]) -> bool:
        """Whether pruned tokens can leave once and come back after the last prunable block.

        That is so where the choice does not depend on the block, since what they receive does not
        depend on the kept ones; not where the stage fills the cache, nor where something else
        changes the stream in between, before one of the blocks `changing`.
        """
        pruning = self.config.pruning
        fixed = pruning.selection == "change" and pruning.self_attention_share == 1.0
        restores = pruning.restore == "zero" or (
            pruning.restore == "cached" and self.tokens != pruning.cache_tokens
        )
        inside = range(pruning.first_block + 1, pruning.last_block + 1)
        last = pruning.last_block < self.config.infinity.depth
        return self.prunes and fixed and restores and last and not changing.intersection(inside)

    def _bring_back(self, before: Tensor, x: Tensor, kept: Sequence[Tensor]) -> Tensor:
        """Kept tokens among the others, which received all cached updates meanwhile."""
        back = []
        parts = zip(self.groups, self.full.unpack(before), self.kept.unpack(x), kept, strict=True)
        for run, whole, part, indices in parts:
            if run.group.kept < self.tokens:
                part = scatter(
                    whole + all_cached_updates(run, self.config.pruning, self.grid),
                    run.every_branch(indices),
                    part,
                )
            back.append(part)
        return self.full.pack(back)

    def _select(self, place: int, stream: Tensor, kept: int) -> Tensor:
        """The kept tokens [rows, kept] of one group, for the rows of `stream`."""
        run, change = self.groups[place], None
        if self.changes is not None:
            change = self.changes[place].repeat(run.group.branches, 1)[: len(stream)]
        entropy = None if run.entropy is None else run.entropy[: len(stream)]
        pruning = self.config.pruning
        evidence = Evidence(stream, entropy, change, settle_ties=pruning.restore == "no_code")
        return SELECTIONS[pruning.selection](evidence, kept)

    def _drop_tokens(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Take pruned tokens out of the stream for the rest of the stage, alike in all branches."""
        streams, chosen = [], []
        for place, (run, stream) in enumerate(zip(self.groups, self.full.unpack(x), strict=True)):
            conditional = stream[: len(run.group.rows)]
            if run.group.kept < self.tokens:
                indices = self._select(place, conditional, run.group.kept).sort(dim=1).values
            else:
                indices = torch.arange(self.tokens, device=x.device).expand(len(conditional), -1)
            chosen.append(indices)
            streams.append(gather(stream, run.every_branch(indices)))
        every = [
            run.every_branch(indices) for run, indices in zip(self.groups, chosen, strict=True)
        ]
        return self.kept.pack(streams), self._kept_rope(list(every), self.kept), chosen

    def _kept_rope(self, chosen: Sequence[Tensor | None], packing: Packing) -> Tensor:
        """Rotations of the kept tokens, packed like them [..., n, c/2]."""
        if all(indices is None for indices in chosen):
            return self.rope
        return packing.pack(
            [
                self.rope.expand(run.group.num_rows, -1, -1)
                if indices is None
                else self.rope[indices]
                for run, indices in zip(self.groups, chosen, strict=True)
            ]
        )

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

    # Restoration ----------------------------------------------------------------------------

    def _remember(self, index: int, packing: Packing, update: Tensor) -> None:
        """At the cache stage, keep the full updates of prunable blocks (5.4)."""
        pruning = self.config.pruning
        if pruning.restore != "cached" or self.tokens != pruning.cache_tokens:
            return
        if pruning.first_block <= index <= pruning.last_block:
            for run, part in zip(self.groups, packing.unpack(update), strict=True):
                run.updates.setdefault(index, []).append(run.by_branch(part))

    # Guidance and head ----------------------------------------------------------------------

    def _mixing_blocks(self) -> set[int]:
        depth = self.config.infinity.depth
        return {depth + k for k in self.config.sampling.cfg_insertion_layer if k < 0}

    def _mix_branches(self, run: GroupRun, x: Tensor) -> Tensor:
        """Guidance in the middle of the network: both halves become the mix. x [R, n, C]."""
        if run.group.branches == 1 or self.cfg == 1.0:
            return x
        conditional, unconditional = x.chunk(2)
        return mix(conditional, unconditional, self.cfg).repeat(2, 1, 1)

    def _head(self, x: Tensor, packing: Packing) -> list[Tensor]:
        """Logits of the rows that are read, per group: [R or G, n, 2d]."""
        needed = [
            part if self._mixes_logits(run) else part[: len(run.group.rows)]
            for run, part in zip(self.groups, packing.unpack(x), strict=True)
        ]
        shapes = Packing(tuple((len(part), part.shape[1]) for part in needed))
        modulation = None
        if self.model.head_nm is not None:
            rows = [
                text_rows(run.group, lambda chunk: chunk.head)[: len(part)]
                for run, part in zip(self.groups, needed, strict=True)
            ]
            scale, shift = shapes.spread(rows).unbind(-2)
            modulation = (scale, shift)
        return shapes.unpack(self.model.logits(shapes.pack(needed), modulation))

    def _mixes_logits(self, run: GroupRun) -> bool:
        on_logits = 0 in self.config.sampling.cfg_insertion_layer
        return on_logits and run.group.branches == 2 and self.cfg != 1.0

    def _output(self, run: GroupRun, logits: Tensor, kept: Tensor | None) -> GroupOutput:
        if self._mixes_logits(run):
            conditional, unconditional = logits.chunk(2)
            logits = mix(conditional, unconditional, self.cfg)
        cache = KeyValueChunk(
            tuple(run.keys), tuple(run.values), tokens=self.tokens, kept=run.group.attended
        )
        restoration = None
        if run.updates:
            updates = {index: (u[0], u[1], u[2]) for index, u in run.updates.items()}
            restoration = RestorationChunk(self.grid, updates)
        attention = None
        if run.measured and run.entropy is not None:
            attention = AttentionChunk(self.grid, run.by_branch(run.entropy))
        return GroupOutput(logits, kept, cache, restoration, attention)
