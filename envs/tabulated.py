"""A table of decisions as a generator: the same environment, thousands of steps a second.

Spaces, observations, costs and rewards are those of the generator that was tabulated, on the
requests that were tabulated. There are no outputs to look at, only their figures.

Glossary: B rows, n decisions of the menu, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from base.decisions import Decision, DecisionSpace, Ratio
from base.errors import DataError, GenerationError
from base.stages import Stage
from envs.decision_table import DecisionTable, TabulatedRequest


@dataclass(frozen=True)
class TabulatedState:
    """Rows on their way through the tree.

    Attributes:
        requests: of the rows.
        stage: [B] int64.
        done: [B] bool.
        node: [B] int64, where in the tree; 0 before the first tabulated stage.
    """

    requests: tuple[TabulatedRequest, ...]
    stage: np.ndarray
    done: np.ndarray
    node: np.ndarray

    @property
    def row(self) -> np.ndarray:
        """[B] int64, the place of each request in the table."""
        return np.array([request.row for request in self.requests], np.int64)


class TableGenerator:
    """See the module. Before `first_stage` only the full decision is allowed.

    Args:
        table: made by `envs.tabulate.tabulate`.
    """

    output_kind = "tabulated"

    def __init__(self, table: DecisionTable):
        self.table = table
        self.falling_figures = table.falling_figures
        self.latency_record = table.latency
        self.fingerprint = table.fingerprint
        self.decision_space: DecisionSpace = table.decision_space
        self.feature_names = table.feature_names
        self.first_stage = table.first_stage
        self.max_stages = table.max_stages
        self._last_stage = len(table.stages[0])
        self._full = table.decision_space.complete({})
        # `complete` checks every field: known decisions are looked up instead
        self._numbers = {
            tuple(sorted(entry.items())): k for k, entry in enumerate(table.decision_space.menu)
        }
        self._by_prompt = {(request.label, request.seed): request for request in table.requests}

    def request(self, label: str, seed: int) -> TabulatedRequest:
        """The tabulated request of this prompt and seed.

        Raises:
            DataError: it is not in the table.
        """
        if (label, seed) not in self._by_prompt:
            example = self.table.requests[0]
            raise DataError(
                f"{label!r} with seed {seed} is not among the {len(self.table.requests)} requests "
                f"of the table, such as {example.label!r} with seed {example.seed}; tabulate it, "
                "or use the generator itself"
            )
        return self._by_prompt[label, seed]

    def stages(self, request: TabulatedRequest) -> tuple[Stage, ...]:
        """The stages of this request."""
        return self.table.stages[request.row]

    def fixed_cost(self, request: TabulatedRequest) -> float:
        """FLOPs that are paid whatever is decided."""
        return float(self.table.fixed_costs[request.row])

    def begin(self, requests: Sequence[TabulatedRequest]) -> TabulatedState:
        """A state for B requests.

        Raises:
            DataError: a seed that was not tabulated.
        """
        for request in requests:
            if not request.is_tabulated:
                raise DataError(
                    f"{request.label!r} is tabulated under seed {request.tabulated_seed}, not "
                    f"{request.seed}; set fresh_seeds to false, or use the generator itself"
                )
        rows = len(requests)
        zeros = np.zeros(rows, np.int64)
        return TabulatedState(tuple(requests), zeros, np.zeros(rows, bool), zeros)

    def allowed(self, state: TabulatedState, decisions: Sequence[Decision]) -> np.ndarray:
        """[B, n] bool: what was open, and before the tabulated stages only the full decision."""
        numbers = [self._number(decision) for decision in decisions]
        full = [self._is_full(decision) for decision in decisions]
        last = self.table.depth - 1
        by_level = [
            [number in choices for number in numbers] for choices in self.table.open_choices
        ]
        levels = np.clip(
            state.stage - self.first_stage, -1, last
        )  # -1: before, the row for it last
        return np.array([*by_level, full], dtype=bool)[levels]

    def cost(self, state: TabulatedState, decisions: Sequence[Decision]) -> np.ndarray:
        """[B] float64 FLOPs. Between tabulated ratios it is interpolated, to find near ones."""
        costs = np.zeros(len(state.requests))
        for place, (request, decision) in enumerate(zip(state.requests, decisions, strict=True)):
            stage = int(state.stage[place])
            if state.done[place]:
                continue
            if stage < self.first_stage:
                costs[place] = self.table.stages[request.row][stage].cost_flops
                continue
            level = stage - self.first_stage
            children = self.table.children(level, int(state.node[place]))
            number, choices = self._number(decision), self.table.open_choices[level]
            known = self.table.costs[request.row, children.start : children.stop]
            if number in choices:
                costs[place] = known[choices.index(number)]
            else:
                costs[place] = self._between(known, choices, decision)
        return costs

    def advance(self, state: TabulatedState, decisions: Sequence[Decision]) -> TabulatedState:
        """One stage of each row that is not done.

        Raises:
            GenerationError: a decision that is not in the table.
        """
        node = state.node.copy()
        for place in np.flatnonzero(~state.done).tolist():
            level = int(state.stage[place]) - self.first_stage
            number = self._number(decisions[place])
            choices = self.table.open_choices[level] if level >= 0 else ()
            if not (number in choices if level >= 0 else self._is_full(decisions[place])):
                raise GenerationError(
                    f"{state.requests[place].label!r}, stage {state.stage[place]}: the table does "
                    f"not have {dict(decisions[place])}; from stage {self.first_stage} on it has "
                    f"{list(self.decision_space.menu)} as far as they are allowed, before that "
                    "everything is computed"
                )
            if level >= 0:
                children = self.table.children(level, int(node[place]))
                node[place] = children[choices.index(number)]
        stage = np.where(state.done, state.stage, state.stage + 1)
        return TabulatedState(state.requests, stage, stage == self._last_stage, node)

    def fork(self, state: TabulatedState, rows: Sequence[int]) -> TabulatedState:
        """Rows copied, dropped or repeated."""
        index = list(rows)
        requests = tuple(state.requests[row] for row in index)
        return TabulatedState(requests, state.stage[index], state.done[index], state.node[index])

    def join(self, states: Sequence[TabulatedState]) -> TabulatedState:
        """States side by side."""
        return TabulatedState(
            sum((state.requests for state in states), ()),
            *(np.concatenate([getattr(s, name) for s in states]) for name in _ARRAYS),
        )

    def features(self, state: TabulatedState) -> np.ndarray:
        """[B, F] float32.

        Raises:
            GenerationError: a row is before the tabulated stages.
        """
        if (state.stage < self.first_stage).any():
            raise GenerationError(
                f"the table begins at stage {self.first_stage}; set first_controlled_stage to "
                f"{self.first_stage}"
            )
        return self.table.features[state.row, state.node]

    def feature_cost(self, state: TabulatedState) -> np.ndarray:
        """[B] float64 FLOPs of looking at them."""
        return self.table.feature_costs[state.row, state.node]

    def preview(self, state: TabulatedState, rows: Sequence[int] | None = None) -> Any:
        """There is nothing to show.

        Raises:
            GenerationError: always.
        """
        raise GenerationError("a table has figures but no outputs; use the generator itself")

    def finish(self, state: TabulatedState) -> list[np.ndarray]:
        """For each row that is done, (place in the table, leaf): what `known_fidelity` takes."""
        done = np.flatnonzero(state.done)
        leaves = state.node[done] - self.table.first_leaf
        return list(np.stack([state.row[done], leaves], axis=1))

    def known_fidelity(self, outputs: Sequence[Any]) -> dict[str, np.ndarray]:
        """[n] float64 for each figure of these outputs of `finish`."""
        rows, leaves = np.array(outputs, np.int64).reshape(-1, 2).T
        return {name: column[rows, leaves] for name, column in self.table.figures.items()}

    def _number(self, decision: Decision) -> int | None:
        """The place of a decision in the menu; None where it is not there."""
        number = self._numbers.get(tuple(sorted(decision.items())))
        if number is None and len(decision) < len(self.decision_space.fields):
            complete = self.decision_space.complete(decision)
            number = self._numbers.get(tuple(sorted(complete.items())))
        return number

    def _is_full(self, decision: Decision) -> bool:
        return self.decision_space.complete(decision) == self._full

    def _between(self, costs: np.ndarray, choices: Sequence[int], decision: Decision) -> float:
        """The cost of a ratio between those that are open."""
        names = [n for n, f in self.decision_space.fields.items() if isinstance(f, Ratio)]
        if len(names) != 1:
            raise DataError(f"the table does not have {dict(decision)}; it has {self._numbers}")
        ratios = np.array([self.decision_space.menu[k][names[0]] for k in choices])
        order = np.argsort(ratios, kind="stable")
        ratio = self.decision_space.complete(decision)[names[0]]
        return float(np.interp(ratio, ratios[order], costs[order]))


_ARRAYS = ("stage", "done", "node")
