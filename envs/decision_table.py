"""A table of decisions: what a generator does under every schedule of a menu, request by request.

The first stages are computed in full; from `first_stage` on, every node of the tree of decisions
was visited. Whatever an environment asks of a generator is then a look-up (`envs/tabulated.py`),
and so is any search for the best decisions (`agents/search.py`).

Glossary: N requests, n decisions of the menu, D tabulated stages, V nodes, L leaves, F features.
Nodes are counted breadth first: 0 is the root, and the last L are the leaves. At each stage some
decisions of the menu are open (usually all of them: n**D leaves), the same ones at all nodes.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from base.decisions import Choice, Decision, DecisionSpace, Ratio
from base.errors import DataError
from base.files import write_arrays
from base.stages import Stage

FORMAT = 1


@dataclass(frozen=True)
class TabulatedRequest:
    """A request of a table.

    Attributes:
        tabulated_key: its key in the generator that was tabulated.
        label: what a person reads.
        tabulated_seed: the seed that it was tabulated under.
        row: its place in the table.
        seed: the seed that is asked for; only the tabulated one can be looked up.
    """

    tabulated_key: str
    label: str
    tabulated_seed: int
    row: int
    seed: int

    @property
    def key(self) -> str:
        """That of the generator that was tabulated."""
        return self.tabulated_key if self.is_tabulated else f"{self.tabulated_key}/{self.seed}"

    @property
    def is_tabulated(self) -> bool:
        """Whether the table has this seed."""
        return self.seed == self.tabulated_seed

    def with_seed(self, seed: int) -> "TabulatedRequest":
        """The same request under another seed."""
        return replace(self, seed=seed)


@dataclass(frozen=True)
class DecisionTable:
    """See the module.

    Attributes:
        fingerprint: of the generator.
        decision_space: of the generator; its menu is what was tabulated.
        feature_names: one for each feature.
        max_stages: of the generator; these requests may have fewer.
        first_stage: the first one that was tabulated.
        open_choices: for each tabulated stage the numbers of the decisions that it allows.
        requests: N.
        stages: of each request.
        fixed_costs: [N] float64, FLOPs.
        costs: [N, V] float64, FLOPs of the stage that led to the node; 0 at the root.
        features: [N, V, F] float32.
        feature_costs: [N, V] float64, FLOPs that a controller pays for looking at them.
        falling_figures: those of the figures that fall as outputs improve, such as LPIPS.
        figures: by name, [N, L] float64 fidelity of the leaf's output; the primary one first.
        latency: milliseconds of every stage and decision on one device, as `prunegym calibrate`
            wrote them; None where only FLOPs are known.
    """

    fingerprint: str
    decision_space: DecisionSpace
    feature_names: tuple[str, ...]
    max_stages: int
    first_stage: int
    open_choices: tuple[tuple[int, ...], ...]
    requests: tuple[TabulatedRequest, ...]
    stages: tuple[tuple[Stage, ...], ...]
    fixed_costs: np.ndarray
    costs: np.ndarray
    features: np.ndarray
    feature_costs: np.ndarray
    figures: Mapping[str, np.ndarray]
    falling_figures: tuple[str, ...] = ()
    latency: Mapping[str, Any] | None = None

    @property
    def depth(self) -> int:
        """D."""
        return len(self.open_choices)

    @cached_property
    def first_nodes(self) -> tuple[int, ...]:
        """The number of the first node of each level, from the root to the leaves: D + 1."""
        widths = np.cumprod([1, *map(len, self.open_choices)])
        return tuple((np.cumsum(widths) - widths).tolist())

    @property
    def first_leaf(self) -> int:
        """The number of the node that is leaf 0."""
        return self.first_nodes[-1]

    def children(self, level: int, node: int) -> range:
        """The nodes that the open decisions of a node of this level lead to, in their order."""
        size = len(self.open_choices[level])
        first = self.first_nodes[level + 1] + (node - self.first_nodes[level]) * size
        return range(first, first + size)

    @property
    def full_costs(self) -> np.ndarray:
        """[N] FLOPs of a request with nothing pruned."""
        return self.fixed_costs + [sum(s.cost_flops for s in stages) for stages in self.stages]

    def compute(self) -> np.ndarray:
        """[N, L] cost of each leaf as a share of the request's full cost."""
        prefix = [sum(s.cost_flops for s in stages[: self.first_stage]) for stages in self.stages]
        spent = (self.fixed_costs + prefix)[:, None]
        for level, choices in enumerate(self.open_choices):
            spent = np.repeat(spent, len(choices), axis=1)
            first = self.first_nodes[level + 1]
            spent = spent + self.costs[:, first : first + spent.shape[1]]
        return spent / self.full_costs[:, None]

    def choices(self, leaf: int) -> tuple[int, ...]:
        """The numbers of the decisions that lead to a leaf."""
        numbers = np.unravel_index(leaf, [len(choices) for choices in self.open_choices])
        pairs = zip(self.open_choices, numbers, strict=True)
        return tuple(choices[number] for choices, number in pairs)

    def decisions(self, leaf: int) -> list[Decision]:
        """The decisions of all stages that lead to a leaf."""
        prefix: list[Decision] = [self.decision_space.complete({})] * self.first_stage
        return [*prefix, *(self.decision_space.menu[choice] for choice in self.choices(leaf))]


def save_table(path: str | Path, table: DecisionTable) -> Path:
    """Write a table as one compressed NPZ that holds a JSON text and arrays, and no pickle.

    Feature columns that are the same at all nodes of every request are kept once a request, costs
    of features only where there are any.
    """
    varies = (table.features != table.features[:, :1]).any(axis=(0, 1))  # [F]
    record = {
        "format": FORMAT,
        "fingerprint": table.fingerprint,
        "fields": {n: _field_record(f) for n, f in table.decision_space.fields.items()},
        "menu": [dict(decision) for decision in table.decision_space.menu],
        "feature_names": list(table.feature_names),
        "max_stages": table.max_stages,
        "first_stage": table.first_stage,
        "open_choices": table.open_choices,
        "figures": list(table.figures),
        "falling_figures": list(table.falling_figures),
        "latency": table.latency,
        "requests": [[r.key, r.label, r.seed] for r in table.requests],
        "stages": [[[s.name, s.tokens, s.cost_flops] for s in row] for row in table.stages],
    }
    arrays = {
        "record": np.array(json.dumps(record, ensure_ascii=False, allow_nan=False)),
        "fixed_costs": table.fixed_costs,
        "costs": table.costs,
        "varies": varies,
        "root_features": table.features[:, 0],
        "node_features": table.features[:, :, varies],
        **({"feature_costs": table.feature_costs} if table.feature_costs.any() else {}),
        **{f"figure_{name}": values for name, values in table.figures.items()},
    }
    return write_arrays(path, arrays)


def load_table(path: str | Path) -> DecisionTable:
    """Read what `save_table` wrote. No code in the file is run.

    Raises:
        DataError: it is missing, damaged, or not a table.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        record = json.loads(str(arrays["record"]))
        if record["format"] != FORMAT:
            raise DataError(f"{path} has format {record['format']!r}; expected {FORMAT}")
        features = np.repeat(arrays["root_features"][:, None], arrays["costs"].shape[1], axis=1)
        features[:, :, arrays["varies"]] = arrays["node_features"]
        fields = {name: _field(entry) for name, entry in record["fields"].items()}
        return DecisionTable(
            fingerprint=record["fingerprint"],
            decision_space=DecisionSpace(fields, tuple(record["menu"])),
            feature_names=tuple(record["feature_names"]),
            max_stages=record["max_stages"],
            first_stage=record["first_stage"],
            open_choices=tuple(map(tuple, record.get("open_choices") or _all_open(record))),
            requests=tuple(
                TabulatedRequest(key, label, seed, row, seed)
                for row, (key, label, seed) in enumerate(record["requests"])
            ),
            stages=tuple(tuple(Stage(*entry) for entry in row) for row in record["stages"]),
            fixed_costs=arrays["fixed_costs"],
            costs=arrays["costs"],
            features=features,
            feature_costs=arrays.get("feature_costs", np.zeros_like(arrays["costs"])),
            falling_figures=tuple(record.get("falling_figures", ())),
            latency=record.get("latency"),
            figures={name: arrays[f"figure_{name}"] for name in record["figures"]},
        )
    except FileNotFoundError:
        raise DataError(f"table {path} does not exist; 'prunegym tabulate' makes one") from None
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged, or not a table of decisions: {error}") from error


def _all_open(record: Mapping[str, Any]) -> list[range]:
    """Of a table that does not say: every stage allows the whole menu."""
    depth = len(record["stages"][0]) - record["first_stage"]
    return [range(len(record["menu"]))] * depth


def _field_record(field: Ratio | Choice) -> dict[str, Any]:
    if isinstance(field, Ratio):
        return {"ratio": {"skippable": field.skippable, "full": field.full}}
    return {"choice": list(field.values)}


def _field(record: Mapping[str, Any]) -> Ratio | Choice:
    values: Sequence[Any] | None = record.get("choice")
    return Ratio(**record["ratio"]) if values is None else Choice(tuple(values))
