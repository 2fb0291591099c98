"""One decoding step for rows that each have their own decision.

Rows that compute equally many tokens run together; nothing is padded.

Glossary of shapes: G rows of a group, N context tokens, n of them encoded now, M queries, D width,
V vocabulary.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from base.decisions import SKIP, Decision
from fourm_backend.decoding import Context, ask, choose_positions, draw_tokens, mix, write_tokens
from fourm_backend.layers import KeysValues
from fourm_backend.model import FourM
from fourm_backend.packing import embed
from fourm_backend.sampling import SiteNoise
from fourm_backend.schedule import Step
from fourm_backend.state import Encoded, Entry, Row, decoded

FULL, INCREMENTAL, REUSE = "full", "incremental", "reuse"
_POSITION_BITS = 24


@dataclass(frozen=True)
class Tokens:
    """What a branch sees: [N] sites, [N, D] content plus places, [N, D] places."""

    sites: Tensor
    inputs: Tensor
    places: Tensor


@dataclass(frozen=True)
class Plan:
    """What a row does in its step: which step with how many tokens, and what it encodes anew.

    Attributes:
        step: with `num_tokens` as decided.
        branches: for each pass, what it keeps from before, and the tokens that it encodes.
        positions: [1, M] queries.
    """

    step: Step
    branches: tuple[tuple[Encoded | None, Tokens], ...]
    positions: Tensor

    @property
    def shape(self) -> tuple[object, ...]:
        """Rows of equal shape run together."""
        sizes = [(-1 if old is None else old.count, len(new.sites)) for old, new in self.branches]
        return (self.step.target_domain, self.positions.shape[1], *sizes)


class Stepper:
    """A model and a schedule, with how tokens are drawn."""

    def __init__(
        self, model: FourM, schedule: Sequence[Step], top_k: int | float = 0.0, top_p: float = 0.0
    ):
        self.model = model
        self.schedule = tuple(schedule)
        self.top_k, self.top_p = top_k, top_p
        self.due_after = _cumulative(self.schedule)

    def is_last_of_target(self, stage: int) -> bool:
        """Whether the step has to finish its target."""
        following = self.schedule[stage + 1 : stage + 2]
        return not following or following[0].target_domain != self.schedule[stage].target_domain

    def tokens_now(self, row: Row, ratio: float) -> int:
        """How many tokens the row's next step decodes when this share of what is due waits."""
        step = self.schedule[row.stage]
        due = self.due_after[row.stage] - decoded(row.targets[step.target_domain])
        return 0 if ratio == SKIP else max(due - int(ratio * due), 1)

    def passes(self, row: Row, decision: Decision) -> int:
        """1, or 2 with guidance."""
        return 2 if self.schedule[row.stage].guided and decision["guidance"] else 1

    def sample(self, row: Row, branch: int) -> dict[str, Entry]:
        """What a pass sees: 0 everything, 1 without the conditions that guidance leaves out."""
        sample: dict[str, Entry] = {**row.given, **row.targets}
        if branch == 1:
            step = self.schedule[row.stage]
            for name in step.cfg_cond_domains:
                if name in row.emptied:
                    sample[name] = row.emptied[name]
                elif name in row.targets and name != step.target_domain:
                    del sample[name]  # a finished target that joined the conditions
        return sample

    def sites(self, row: Row, branch: int) -> Tensor:
        """[N] which tokens a pass sees."""
        return torch.cat([_NO_SITES, *(sites for _, _, sites in self._seen(row, branch))])

    def _seen(self, row: Row, branch: int) -> list[tuple[str, Tensor, Tensor]]:
        """(modality, places in it, sites) of what a pass sees, by modality."""
        seen = []
        for name, entry in self.sample(row, branch).items():
            if name in self.model.encoder_embeddings:
                places = (~entry["input_mask"][0]).nonzero()[:, 0]
                tag = self.model.config.inputs[name].id << _POSITION_BITS
                seen.append((name, places, places.cpu() + tag))
        return seen

    def usable(self, row: Row, branch: int) -> bool:
        """Whether all that a pass keeps from before is still what it sees."""
        kept = row.branches[branch]
        if kept is None:
            return False
        return bool(torch.isin(kept.sites, self.sites(row, branch)).all())

    @torch.no_grad()
    def advance(self, rows: Sequence[Row], decisions: Sequence[Decision]) -> list[Row]:
        """The rows after their steps; those that skip only move on."""
        after = [replace(row, stage=row.stage + 1) for row in rows]
        groups: dict[tuple[object, ...], list[tuple[int, Plan]]] = {}
        for index, (row, decision) in enumerate(zip(rows, decisions, strict=True)):
            if decision["prune_ratio"] != SKIP:
                plan = self._plan(row, decision)
                groups.setdefault(plan.shape, []).append((index, plan))
        for members in groups.values():
            plans = [plan for _, plan in members]
            kept, logits = self._run(plans)
            for place, (index, plan) in enumerate(members):
                each = [branch[place : place + 1] for branch in logits]
                branches = [encoded[place] for encoded in kept]
                after[index] = self._draw(rows[index], plan, each, branches)
        return after

    def _plan(self, row: Row, decision: Decision) -> Plan:
        step = self.schedule[row.stage]
        count = self.tokens_now(row, decision["prune_ratio"])
        step = replace(step, num_tokens=count)
        unfinished = ~row.targets[step.target_domain]["target_mask"]
        positions = choose_positions(unfinished, step, SiteNoise([row.request.seed]))
        branches = []
        for branch in range(self.passes(row, decision)):
            old = None if decision["encoder"] == FULL else row.branches[branch]
            branches.append((old, self._tokens(row, branch, old, decision["encoder"])))
        return Plan(step, tuple(branches), positions)

    def _tokens(self, row: Row, branch: int, old: Encoded | None, mode: str) -> Tokens:
        """The tokens that a pass has to encode."""
        sample = self.sample(row, branch)
        none = self.model.mask_token[0, :0]  # [0, D]
        sites, contents, tables = [_NO_SITES], [], []
        for name, places, marked in self._seen(row, branch) if mode != REUSE else []:
            if old is not None:
                fresh = ~torch.isin(marked, old.sites)
                places, marked = places[fresh.to(places.device)], marked[fresh]
            if len(places):
                content, table = embed(self.model, name, sample[name])
                sites.append(marked)
                contents.append(content[0, places])
                tables.append(table[0, places])
        content, table = torch.cat([none, *contents]), torch.cat([none, *tables])
        return Tokens(torch.cat(sites), content + table, table)

    def _run(self, plans: Sequence[Plan]) -> tuple[list[list[Encoded]], list[Tensor]]:
        """Encode and ask. Gives what is kept, [branch][row], and logits [G, M, V] by branch."""
        positions = torch.cat([plan.positions for plan in plans])
        domain = plans[0].step.target_domain
        kept, logits = [], []
        for branch in range(len(plans[0].branches)):
            old = [plan.branches[branch][0] for plan in plans]
            new = [plan.branches[branch][1] for plan in plans]
            encoder, context = self._encode(old, new)
            logits += ask(self.model, Context(context, None), domain, positions)
            sites = [
                fresh.sites if before is None else torch.cat([before.sites, fresh.sites])
                for before, fresh in zip(old, new, strict=True)
            ]
            kept.append(
                [
                    Encoded(sites[row], _row(encoder, row), _row(context, row))
                    for row in range(len(plans))
                ]
            )
        return kept, logits

    def _encode(
        self, old: Sequence[Encoded | None], new: Sequence[Tokens]
    ) -> tuple[Sequence[KeysValues], Sequence[KeysValues]]:
        """Keys and values of old and new tokens, in the encoder's and the decoder's blocks."""
        inputs = torch.stack([tokens.inputs for tokens in new])  # [G, n, D]
        places = torch.stack([tokens.places for tokens in new])
        before = [encoded for encoded in old if encoded is not None]
        if before and inputs.shape[1] == 0:
            return _together([e.encoder for e in before]), _together([e.context for e in before])
        if not before:
            inputs, places, _ = self.model.with_registers(inputs, places, None)
        if inputs.shape[1] == 0:  # nothing is visible at all
            return [], self.model.context_keys(inputs)
        past = _together([e.encoder for e in before]) if before and before[0].encoder else None
        encoded, encoder = self.model.encode(inputs, None, past)
        context = self.model.context_keys(self.model.context(encoded, places))
        if before:
            earlier = _together([e.context for e in before])
            context = [one.append(two) for one, two in zip(earlier, context, strict=True)]
        return encoder, context

    def _draw(
        self, row: Row, plan: Plan, logits: Sequence[Tensor], branches: Sequence[Encoded]
    ) -> Row:
        step, name = plan.step, plan.step.target_domain
        mixed = mix(logits, step.cfg_scale)
        noise = SiteNoise([row.request.seed])
        drawn = draw_tokens(
            mixed, plan.positions, step, noise, self.top_k, self.top_p, with_leads=True
        )
        chances = mixed.float().softmax(-1)
        likeliest = chances.amax(-1)
        entropy = torch.special.entr(chances).sum(-1).mean() / math.log(chances.shape[-1])
        targets: Mapping[str, Entry] = {
            **row.targets,
            name: write_tokens(row.targets[name], drawn),
        }
        last = row.branches[1] if len(branches) == 1 else branches[1]
        waits = ~targets[name]["target_mask"][0, drawn.all_positions[0]]
        assert drawn.leads is not None
        return replace(
            row,
            stage=row.stage + 1,
            targets=targets,
            branches=(branches[0], last),
            confidence=float(likeliest.mean()),
            least_sure=float(likeliest.min()),
            doubt=float((1.0 - likeliest).sum()),
            entropy=float(entropy),
            close_calls=float((-drawn.leads[0, waits]).exp().sum()),
        )


_NO_SITES = torch.zeros(0, dtype=torch.int64)


def _row(blocks: Sequence[KeysValues], row: int) -> list[KeysValues]:
    """One row of a group's keys and values: a view."""
    return [KeysValues(k[row : row + 1], v[row : row + 1]) for k, v in blocks]


def _together(rows: Sequence[Sequence[KeysValues]]) -> list[KeysValues]:
    """Keys and values of rows of equal length, side by side."""
    if len(rows) == 1:
        return list(rows[0])
    return [
        KeysValues(torch.cat([kv.keys for kv in block]), torch.cat([kv.values for kv in block]))
        for block in zip(*rows, strict=True)
    ]


def _cumulative(schedule: Sequence[Step]) -> list[int]:
    """How many tokens of its target are made after each step."""
    totals: dict[str, int] = {}
    due = []
    for step in schedule:
        totals[step.target_domain] = totals.get(step.target_domain, 0) + (step.num_tokens or 0)
        due.append(totals[step.target_domain])
    return due
