"""Visit every node of the tree of decisions, once for all requests that run together.

Stages that several schedules share are computed once: the tree is grown by `fork`.

Glossary: B requests of a batch, n decisions of the menu, V nodes, L leaves, F features.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from base.decisions import Decision, DecisionSpace
from base.errors import ConfigError
from base.files import write_atomic
from envs.decision_table import DecisionTable, TabulatedRequest
from envs.final_fidelity import Scorer, falling_figures, final_fidelity
from envs.generator import Generator, feature_cost
from envs.references import ReferenceCache
from envs.replay import full_decisions, replay

_PART_FORMAT = 2


class Part(NamedTuple):
    """What a table has of one batch."""

    costs: np.ndarray  # [B, V]
    features: np.ndarray  # [B, V, F]
    feature_costs: np.ndarray  # [B, V]
    figures: dict[str, np.ndarray]  # [B, L] each


def tabulate(
    generator: Generator,
    requests: Sequence[Any],
    reference_cache: ReferenceCache,
    num_stages: int = 4,
    batch_size: int = 16,
    rows_at_once: int = 128,
    on_batch: Callable[[int], None] = lambda done: None,
    menu: Sequence[Decision] | None = None,
    parts_folder: Path | None = None,
    scorers: Sequence[Scorer] = (),
) -> DecisionTable:
    """Walk the whole tree of a menu on the last stages of these requests.

    Args:
        generator: makes the outputs.
        requests: N requests with equally many stages.
        reference_cache: has or makes the references.
        num_stages: how many of the last stages are decided; n**num_stages outputs a request,
            fewer where a stage does not allow all of the menu.
        batch_size: requests whose trees grow together.
        rows_at_once: how many outputs are made together.
        on_batch: called with the number of requests that are done.
        menu: the decisions, n of them; default: the generator's own menu.
        parts_folder: batches that are done are kept here, and found again by another call.
        scorers: further figures of images, such as LPIPS.

    Raises:
        ConfigError: requests of different lengths, or a menu of which a stage allows now these
            and now those entries.
    """
    lengths = {len(generator.stages(request)) for request in requests}
    if len(lengths) != 1 or not 1 <= num_stages <= min(lengths):
        raise ConfigError(
            f"requests with {sorted(lengths)} stages, of which the last {num_stages} are to be "
            "tabulated; expected requests of one length, and a number from 1 to that length. "
            "Compare fixed controllers without a table: prunegym compare --schedules"
        )
    space = generator.decision_space
    menu = tuple(space.complete(decision) for decision in menu or space.menu)
    if len(menu) < 2:
        raise ConfigError(f"the menu is {list(menu)}; expected two or more decisions")
    first_stage = lengths.pop() - num_stages
    open_choices = _open_choices(generator, requests[0], menu, first_stage, num_stages)
    parts = []
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        names = [scorer.name for scorer in scorers]
        content = [
            _PART_FORMAT,
            generator.fingerprint,
            [r.key for r in batch],
            list(menu),
            first_stage,
            names,
        ]
        part_file = _part_file(parts_folder, content)
        if part_file is None or not part_file.exists():
            references = reference_cache.get(generator, batch)
            state, _ = replay(
                generator, batch, [full_decisions(generator, first_stage)] * len(batch)
            )
            measure = partial(_measure, generator, references, scorers, rows_at_once)
            parts.append(_grow(generator, state, measure, menu, open_choices, rows_at_once))
            if part_file is not None:
                _save_part(part_file, parts[-1])
        else:
            parts.append(_load_part(part_file))
        on_batch(start + len(batch))
    return DecisionTable(
        fingerprint=generator.fingerprint,
        decision_space=DecisionSpace(space.fields, menu),
        feature_names=tuple(generator.feature_names),
        max_stages=generator.max_stages,
        first_stage=first_stage,
        open_choices=open_choices,
        requests=tuple(
            TabulatedRequest(request.key, request.label, int(request.seed), row, int(request.seed))
            for row, request in enumerate(requests)
        ),
        stages=tuple(tuple(generator.stages(request)) for request in requests),
        fixed_costs=np.array([float(generator.fixed_cost(request)) for request in requests]),
        costs=np.concatenate([part.costs for part in parts]),
        features=np.concatenate([part.features for part in parts]),
        feature_costs=np.concatenate([part.feature_costs for part in parts]),
        falling_figures=tuple(falling_figures(generator, scorers)),
        figures={
            name: np.concatenate([part.figures[name] for part in parts])
            for name in parts[0].figures
        },
    )


def _part_file(folder: Path | None, content: Sequence[Any]) -> Path | None:
    """Where a batch is kept: the name says all that it depends on."""
    if folder is None:
        return None
    return folder / f"{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]}.npz"


def _save_part(path: Path, part: Part) -> None:
    arrays = part._asdict() | part.figures
    del arrays["figures"]

    def write(target: Path) -> None:
        with open(target, "wb") as file:
            np.savez(file, **arrays)

    write_atomic(path, write)


def _load_part(path: Path) -> Part:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    costs, features, feature_costs = (arrays.pop(name) for name in Part._fields[:-1])
    return Part(costs, features, feature_costs, figures=arrays)


def _open_choices(
    generator: Generator,
    request: Any,
    menu: Sequence[dict[str, Any]],
    first_stage: int,
    num_stages: int,
) -> tuple[tuple[int, ...], ...]:
    """The numbers of the decisions that each stage allows where nothing was pruned before."""
    state, _ = replay(generator, [request], [full_decisions(generator, first_stage)])
    found = []
    for _ in range(num_stages):
        found.append(tuple(np.flatnonzero(generator.allowed(state, menu)[0]).tolist()))
        state = generator.advance(state, full_decisions(generator, 1))
    return tuple(found)


def _grow(
    generator: Generator,
    state: Any,
    measure: Callable[[Any], dict[str, np.ndarray]],
    menu: Sequence[dict[str, Any]],
    open_choices: Sequence[Sequence[int]],
    rows_at_once: int,
) -> Part:
    """What the table has of one batch, from its first node on."""
    count, nodes = len(state.requests), 1
    costs = [np.zeros((count, 1))]
    features = [generator.features(state)[:, None]]
    feature_costs = [feature_cost(generator, state)[:, None]]
    # Rows lie node by node, and within a node request by request.
    for choices in open_choices:
        size = len(choices)
        expected = np.isin(np.arange(len(menu)), choices)
        if not size or (generator.allowed(state, menu) != expected).any():
            raise ConfigError(
                f"stage {state.stage[0]}: which decisions of {list(menu)} are allowed depends on "
                "those before, or none is; choose a menu of which each stage allows the same "
                "entries whatever was decided"
            )
        level_costs = np.empty((nodes, size, count))
        level_feature_costs = np.empty((nodes, size, count))
        level_features = np.empty((nodes, size, count, features[0].shape[-1]), np.float32)
        states = []
        for choice, number in enumerate(choices):
            decisions = [menu[number]] * (nodes * count)
            level_costs[:, choice] = generator.cost(state, decisions).reshape(nodes, count)
            children = _advance(generator, state, decisions, rows_at_once)
            level_features[:, choice] = generator.features(children).reshape(nodes, count, -1)
            paid = feature_cost(generator, children)
            level_feature_costs[:, choice] = paid.reshape(nodes, count)
            states.append(children)
        # [size, nodes, count] -> [nodes, size, count], so that a node's children are neighbours
        order = np.arange(size * nodes * count).reshape(size, nodes, count).transpose(1, 0, 2)
        state = generator.fork(generator.join(states), order.ravel().tolist())
        nodes *= size
        costs.append(level_costs.reshape(nodes, count).T)
        features.append(level_features.reshape(nodes, count, -1).transpose(1, 0, 2))
        feature_costs.append(level_feature_costs.reshape(nodes, count).T)
    figures = measure(state)
    leaves = {name: column.reshape(-1, count).T for name, column in figures.items()}
    return Part(
        costs=np.concatenate(costs, axis=1),
        features=np.concatenate(features, axis=1),
        feature_costs=np.concatenate(feature_costs, axis=1),
        figures=leaves,
    )


def _advance(generator: Generator, state: Any, decisions: Sequence[Any], rows_at_once: int) -> Any:
    """One stage of every row, some rows at a time: what they need passes through memory."""
    parts = []
    for start in range(0, len(decisions), rows_at_once):
        rows = range(start, min(start + rows_at_once, len(decisions)))
        part = generator.fork(state, rows)
        parts.append(generator.advance(part, decisions[start : start + rows_at_once]))
    return generator.join(parts)


def _measure(
    generator: Generator,
    references: Sequence[np.ndarray],
    scorers: Sequence[Scorer],
    rows_at_once: int,
    state: Any,
) -> dict[str, np.ndarray]:
    """The figures of all rows, [L * B]; rows go through the references again and again."""
    parts = []
    for start in range(0, len(state.requests), rows_at_once):
        rows = range(start, min(start + rows_at_once, len(state.requests)))
        outputs = generator.finish(generator.fork(state, rows))
        expected = [references[row % len(references)] for row in rows]
        labels = [state.requests[row].label for row in rows]
        parts.append(final_fidelity(generator, outputs, expected, scorers, labels))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
