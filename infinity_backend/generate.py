"""Generation one scale at a time, as pure functions of an explicit state.

Shapes: B requests of a state, G of a group, b branches, T text tokens, L tokens of a stage, n kept
ones, d bits per token; d', (h', w') the tokenizer's bits and grid (d = 4 d' with patchify).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from base.decisions import SKIP, Decision
from base.errors import GenerationError
from infinity_backend.bsq import Grid, resize, resize_area
from infinity_backend.config import PipelineConfig
from infinity_backend.draw import draw_from_stream, draw_keyed, to_signs
from infinity_backend.groups import Group, GroupOutput, group_rows
from infinity_backend.prompt_chunk import text_chunk
from infinity_backend.sampling import bit_probability
from infinity_backend.stage import Observe, StageRun
from infinity_backend.state import GenerationState, Ref, Row, gather_rows
from infinity_backend.text import TextCondition
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE, to_uint8


@dataclass(frozen=True)
class Stepper:
    """A frozen model and its settings; every method is a pure function of its arguments."""

    model: Infinity
    vae: VAE
    config: PipelineConfig

    @property
    def num_stages(self) -> int:
        """How many scales the schedule has."""
        return len(self.config.schedule)

    @property
    def cfg(self) -> tuple[float, ...]:
        """Guidance strength of every stage."""
        return self.config.sampling.per_stage("cfg", self.num_stages)

    @property
    def guided(self) -> bool:
        """Whether a guidance branch runs at all."""
        return any(value != 1.0 for value in self.cfg)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.pos_start.device

    def tokenizer_grid(self, stage: int) -> Grid:
        """The tokenizer's grid of a stage; twice the transformer's with patchify."""
        factor = 2 if self.config.infinity.apply_spatial_patchify else 1
        height, width = self.config.schedule[stage]
        return height * factor, width * factor

    # One run -------------------------------------------------------------------------------

    @torch.no_grad()
    def begin(
        self,
        requests: Sequence[Any],
        text: TextCondition,
        negative: TextCondition | None = None,
        stream_seed: int | None = None,
    ) -> GenerationState:
        """A state before the first stage.

        Args:
            requests: B requests; their `seed` keys the noise.
            text: their B prompts.
            negative: B prompts for the guidance branch, instead of the learned unconditional rows.
            stream_seed: seed of the single stream of `noise="sequential"`.
        """
        prompts = [text]
        if self.guided:
            prompts.append(negative or text.unconditional(self.model.cfg_uncond))
        chunk = text_chunk(self.model, prompts)
        branches = len(chunk.lengths)
        grid = self.tokenizer_grid(self.num_stages - 1)
        codes = torch.zeros(len(requests), self.config.vae.codebook_dim, *grid, device=self.device)
        stream = None
        if self.config.sampling.noise == "sequential":
            generator = torch.Generator()
            if stream_seed is not None:
                generator.manual_seed(stream_seed)
            stream = generator.get_state()
        return GenerationState(
            requests=tuple(requests),
            stage=np.zeros(len(requests), dtype=np.int64),
            num_stages=self.num_stages,
            rows=tuple(Row(Ref(chunk, index), branches) for index in range(len(requests))),
            codes=codes,
            previous_codes=codes,
            stream=stream,
        )

    @torch.no_grad()
    def advance(
        self,
        state: GenerationState,
        decisions: Sequence[Decision],
        forced_bits: Tensor | None = None,
        observe: Observe | None = None,
    ) -> GenerationState:
        """The state after one stage of every row that is not done; the argument is left as it was.

        Args:
            state: B rows, possibly at different stages.
            decisions: one a row: `prune_ratio` in [0, 1] (exactly 1 skips the stage) and
                `guidance`; completed and allowed (see `InfinityGenerator`). Ignored for done rows.
            forced_bits: [B, h', w', d'] bits that replace the sampled ones at this stage.
            observe: called with (name, tensor) for block outputs, kept tokens and logits (tests).

        Raises:
            GenerationError: the first stage skipped, or logits that are not finite.
        """
        rows, codes, stream = list(state.rows), state.codes.clone(), state.stream
        patchify = self.config.infinity.apply_spatial_patchify
        last_grid = self.tokenizer_grid(self.num_stages - 1)
        for stage in sorted(set(state.stage[~state.done].tolist())):
            members = [int(row) for row in np.flatnonzero(state.stage == stage)]
            running = []
            for member in members:
                row, decision = rows[member], decisions[member]
                if decision["prune_ratio"] == SKIP:
                    self._check_skip(state, member, stage)
                    rows[member] = replace(row, signs=(*row.signs, None))
                    continue
                if not decision["guidance"]:
                    rows[member] = replace(row, branches=1)
                running.append(member)
            if not running:
                continue
            groups = group_rows(self.config, stage, rows, running, decisions)
            run = StageRun(self.model, self.config, stage, groups, self.cfg[stage], observe)
            changes = None
            if self.config.pruning.selection == "change":
                changes = [self._change(stage, group) for group in groups]
            outputs = run([self._inputs(stage, group, codes) for group in groups], changes)
            probabilities = [self._probability(output.logits, stage, observe) for output in outputs]
            if state.stream is None:
                drawn = draw_keyed(
                    state.requests, groups, outputs, probabilities, stage, run.tokens
                )
            else:
                drawn, stream = draw_from_stream(groups, probabilities, state.stream)
            for group, output, bits in zip(groups, outputs, drawn, strict=True):
                signs = to_signs(output, bits, run.grid, patchify)  # [G, h', w', d'] int8
                if forced_bits is not None:
                    forced = forced_bits[group.places].to(torch.int8) * 2 - 1
                    signs = forced.view_as(signs)
                code = signs.permute(0, 3, 1, 2).float() / signs.shape[-1] ** 0.5
                codes[group.places] += resize(code, last_grid)
                self._record(rows, group, output, signs)
            self._record_bits(state, rows, stage, groups, outputs, probabilities)
        previous_codes = state.codes
        if state.done.any():
            was_done = torch.from_numpy(state.done).to(codes.device)[:, None, None, None]
            previous_codes = torch.where(was_done, state.previous_codes, state.codes)
        following = np.where(state.done, state.stage, state.stage + 1)
        return GenerationState(
            requests=state.requests,
            stage=following,
            num_stages=state.num_stages,
            rows=tuple(
                finished(row) if stage >= self.num_stages else row
                for row, stage in zip(rows, following, strict=True)
            ),
            codes=codes,
            previous_codes=previous_codes,
            stream=stream,
        )

    @torch.no_grad()
    def images(self, codes: Tensor, batch_size: int = 64) -> np.ndarray:
        """Decode summed codes [B, d', H', W'] to uint8 RGB [B, height, width, 3]."""
        parts = [to_uint8(self.vae.decode(part)).cpu() for part in codes.split(batch_size)]
        return torch.cat(parts).numpy()

    # Parts of advance ----------------------------------------------------------------------

    def _check_skip(self, state: GenerationState, member: int, stage: int) -> None:
        if stage == 0:
            raise GenerationError(
                f"request {state.requests[member]}: the first stage cannot be skipped, since every "
                "later one starts from its codes. Give it a prune_ratio below 1"
            )

    def _inputs(self, stage: int, group: Group, codes: Tensor) -> Tensor:
        """Embedded tokens of a stage for all rows of a group: [b * G, L, C]."""
        if stage == 0:
            pooled = gather_rows(group.text, lambda chunk: chunk.pooled, group.branches)
            return pooled.flatten(0, 1)[:, None] + self.model.pos_start
        x = resize(codes[group.places], self.tokenizer_grid(stage))
        if self.config.infinity.apply_spatial_patchify:
            x = F.pixel_unshuffle(x, 2)
        tokens = self.model.embed(x.flatten(2).transpose(1, 2))  # [G, L, C]
        return tokens.repeat(group.branches, 1, 1)

    def _change(self, stage: int, group: Group) -> Tensor:
        """How much the last stage that ran changed the codes at each token of this one: [G, L]."""
        rows = []
        for row in group.rows:
            ran = [signs for signs in row.signs if signs is not None]
            signs = ran[-1] if ran else torch.ones(1, 1, 1, device=self.device)
            codes = resize(signs.permute(2, 0, 1)[None].float(), self.tokenizer_grid(stage))
            rows.append(resize_area(codes.square().sum(1, True), self.config.schedule[stage]))
        return torch.cat(rows).flatten(1)

    def _probability(self, logits: Tensor, stage: int, observe: Observe | None) -> Tensor:
        logits = logits / self.config.sampling.per_stage("tau", self.num_stages)[stage]
        if observe is not None:
            observe("logits", logits)
        return bit_probability(logits, self.config.sampling)

    @staticmethod
    def _record(rows: list[Row], group: Group, output: GroupOutput, signs: Tensor) -> None:
        """Write what the stage left into the rows (a list of values, made for this call)."""
        for index, member in enumerate(group.members):
            row = rows[member]
            restoration = row.restoration
            if output.restoration is not None:
                restoration = Ref(output.restoration, index)
            attention = row.attention
            if output.attention is not None:
                attention = Ref(output.attention, index)
            history = row.history
            if output.cache is not None:
                history = (*history, Ref(output.cache, index))
            rows[member] = replace(
                row,
                history=history,
                restoration=restoration,
                attention=attention,
                signs=(*row.signs, signs[index]),
            )

    @staticmethod
    def _record_bits(
        state: GenerationState,
        rows: list[Row],
        stage: int,
        groups: Sequence[Group],
        outputs: Sequence[GroupOutput],
        probabilities: Sequence[Tensor],
    ) -> None:
        """Write how sure the bits of a stage were into the rows.

        This is the one place of a stage where the host waits for numbers of the device, so it also
        looks whether the logits were finite.
        """
        figures = []
        for output, p in zip(outputs, probabilities, strict=True):
            entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)) / np.log(2.0)
            certain = torch.maximum(p, 1 - p).mean((1, 2))
            finite = torch.isfinite(output.logits).flatten(1).all(dim=1)
            figures.append(torch.stack([certain, entropy.mean((1, 2)), finite.to(p)], dim=1))
        members = [member for group in groups for member in group.members]
        unusable = []
        table = torch.cat(figures).cpu().tolist()  # [rows, 3]
        for member, (certainty, entropy_bits, finite) in zip(members, table, strict=True):
            rows[member] = replace(rows[member], certainty=certainty, entropy_bits=entropy_bits)
            if not finite:
                unusable.append(str(state.requests[member]))
        if unusable:
            raise GenerationError(
                f"logits of stage {stage} are not finite for {unusable}; the weights may be "
                "damaged, or the number type too narrow (try float32)"
            )


def finished(row: Row) -> Row:
    """A row that is done, without what only a later stage would read."""
    return replace(row, history=(), restoration=None, attention=None)
