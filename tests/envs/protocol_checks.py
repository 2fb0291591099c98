"""Checks that every generator must pass: call `check_generator` with a few requests.

They look only through the protocol, so that they fit any backend. `tolerance` bounds the mean
absolute difference of two outputs that should be equal (0: bit for bit), because float arithmetic
may differ with the composition of a batch.

Glossary of shapes: B rows, F features, n decisions of the menu.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from base.decisions import Decision
from base.errors import ConfigError, GenerationError
from envs.generator import Generator, Request
from envs.replay import full_decisions, replay


def check_generator(
    generator: Generator,
    requests: Sequence[Request],
    tolerance: float = 0.0,
    seeds_matter: bool = True,
) -> None:
    """Run every check of this module; three requests or more, of unequal length where possible.

    `seeds_matter`: whether another seed gives another output when nothing is pruned.
    """
    assert len(requests) >= 3
    check_members(generator, requests)
    check_costs(generator, requests)
    check_lengths_and_features(generator, requests)
    check_argument_untouched(generator, requests, tolerance)
    check_fork_and_join(generator, requests, tolerance)
    check_rows_do_not_depend_on_neighbours(generator, requests, tolerance)
    check_allowed_agrees_with_advance(generator, requests)
    if seeds_matter:
        check_seeds_matter(generator, requests)


def random_decisions(
    generator: Generator, request: Request, stream: np.random.Generator
) -> list[Decision]:
    """A whole episode of allowed decisions of the menu, the first stage in full."""
    menu = generator.decision_space.menu
    state = generator.begin([request])
    decisions: list[Decision] = []
    while not state.done[0]:
        allowed = np.flatnonzero(generator.allowed(state, menu)[0])
        choice = menu[stream.choice(allowed)] if decisions else menu[0]
        decisions.append(choice)
        state = generator.advance(state, [choice])
    return decisions


def run_all(generator: Generator, requests: Sequence[Request], decisions: Any) -> list[np.ndarray]:
    """The outputs of these requests under these decisions, in one batch."""
    state, _ = replay(generator, requests, decisions)
    return [np.asarray(output) for output in generator.finish(state)]


def assert_same(some: Any, others: Any, tolerance: float) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.shape == other.shape and one.dtype == other.dtype
        assert np.abs(one.astype(np.float64) - other.astype(np.float64)).mean() <= tolerance


def check_members(generator: Generator, requests: Sequence[Request]) -> None:
    assert isinstance(generator, Generator)
    assert isinstance(generator.fingerprint, str) and generator.fingerprint
    space = generator.decision_space
    full = space.complete({})
    assert space.complete(space.menu[0]) == full, "the first decision of the menu prunes nothing"
    for request in requests:
        assert isinstance(request, Request)
        other = request.with_seed(request.seed + 1)
        assert other.seed == request.seed + 1 and other.label == request.label
        assert other.key != request.key and other.with_seed(request.seed) == request
        assert 1 <= len(generator.stages(request)) <= generator.max_stages
    with pytest.raises(ConfigError):
        space.complete({"no such field": 1})


def check_costs(generator: Generator, requests: Sequence[Request]) -> None:
    """Full costs are those of `stages`; pruning never costs more; a done row costs nothing."""
    lengths = [len(generator.stages(request)) for request in requests]
    everything = [full_decisions(generator, length) for length in lengths]
    state, costs = replay(generator, requests, everything)
    for request, paid in zip(requests, costs, strict=True):
        listed = [stage.cost_flops for stage in generator.stages(request)]
        np.testing.assert_allclose(paid, listed, rtol=1e-9)
        assert np.isfinite(generator.fixed_cost(request)) and generator.fixed_cost(request) >= 0
    assert (generator.cost(state, full_decisions(generator, len(requests))) == 0).all()
    state = generator.begin(requests)
    full = generator.cost(state, full_decisions(generator, len(requests)))
    for decision in generator.decision_space.menu:  # forbidden ones too
        cost = generator.cost(state, [decision] * len(requests))
        assert cost.shape == (len(requests),) and cost.dtype == np.float64
        assert (cost >= 0).all() and (cost <= full * (1 + 1e-9)).all()


def check_lengths_and_features(generator: Generator, requests: Sequence[Request]) -> None:
    """Each row is done after its own stages; features are finite and shaped to the end."""
    stream = np.random.default_rng(1)
    episodes = [random_decisions(generator, request, stream) for request in requests]
    lengths = np.array([len(generator.stages(request)) for request in requests])
    full = generator.decision_space.complete({})
    state = generator.begin(requests)
    assert tuple(state.requests) == tuple(requests)
    for taken in range(lengths.max() + 1):
        np.testing.assert_array_equal(state.done, lengths <= taken)
        np.testing.assert_array_equal(state.stage[~state.done], taken)
        features = generator.features(state)
        assert features.shape == (len(requests), len(generator.feature_names))
        assert features.dtype == np.float32 and np.isfinite(features).all()
        assert len(generator.preview(state)) == len(requests)
        if state.done.all():
            break
        state = generator.advance(
            state, [episode[taken] if taken < len(episode) else full for episode in episodes]
        )
    assert state.done.all() and len(generator.finish(state)) == len(requests)


def check_argument_untouched(
    generator: Generator, requests: Sequence[Request], tolerance: float
) -> None:
    """`advance` leaves its argument as it was: what follows from it does not change."""
    full = full_decisions(generator, len(requests))
    state = generator.advance(generator.begin(requests), full)
    features = generator.features(state).copy()
    preview = [np.array(output) for output in generator.preview(state)]
    expected = generator.preview(generator.advance(state, full))
    other = state
    while not other.done.all():  # another future of the same state, to its end
        menu = generator.decision_space.menu
        allowed = generator.allowed(other, menu)
        last = [menu[np.flatnonzero(row)[-1]] if row.any() else menu[0] for row in allowed]
        other = generator.advance(other, last)
    assert (state.stage == 1).all()
    np.testing.assert_array_equal(generator.features(state), features)
    assert_same(generator.preview(state), preview, 0.0)
    assert_same(generator.preview(generator.advance(state, full)), expected, tolerance)


def check_fork_and_join(
    generator: Generator, requests: Sequence[Request], tolerance: float
) -> None:
    """Rows that were repeated, dropped, reordered and joined go on as fresh runs would."""
    first, second, third = requests[:3]
    stream = np.random.default_rng(2)
    ways = [random_decisions(generator, request, stream) for request in (first, second, third)]
    other_way = random_decisions(generator, second, stream)[1:]
    begun = generator.begin([first, second])
    begun = generator.advance(begun, [ways[0][0], ways[1][0]])
    twins = generator.fork(begun, [1, 0, 1])
    joined = generator.join([twins, generator.begin([third])])  # a fresh row enters
    assert list(joined.requests) == [second, first, second, third]
    rest = [ways[1][1:], ways[0][1:], [ways[1][0], *other_way][1:], ways[2]]
    state = joined
    for taken in range(max(map(len, rest))):
        full = generator.decision_space.complete({})
        now = [each[taken] if taken < len(each) else full for each in rest]
        state = generator.advance(state, now)
    fresh = run_all(
        generator,
        [second, first, second, third],
        [ways[1], ways[0], [ways[1][0], *other_way], ways[2]],
    )
    assert_same(generator.finish(state), fresh, tolerance)


def check_rows_do_not_depend_on_neighbours(
    generator: Generator, requests: Sequence[Request], tolerance: float
) -> None:
    """The same decisions give the same output and cost, alone or in a batch of others."""
    stream = np.random.default_rng(3)
    decisions = [random_decisions(generator, request, stream) for request in requests]
    state, costs = replay(generator, requests, decisions)
    together = generator.finish(state)
    for row, request in enumerate(requests):
        alone, alone_costs = replay(generator, [request], [decisions[row]])
        assert_same(generator.finish(alone), [together[row]], tolerance)
        np.testing.assert_allclose(costs[row], alone_costs[0], rtol=1e-9)


def check_allowed_agrees_with_advance(generator: Generator, requests: Sequence[Request]) -> None:
    """What is allowed goes, what is not raises; in each state of one full run."""
    menu = generator.decision_space.menu
    for request in requests[:2]:
        state = generator.begin([request])
        while not state.done[0]:
            allowed = generator.allowed(state, menu)
            assert allowed.shape == (1, len(menu)) and allowed.dtype == bool
            assert allowed[0, 0], "the full decision is allowed as long as nothing was pruned"
            for decision, free in zip(menu, allowed[0], strict=True):
                if free:
                    assert generator.advance(state, [decision]).stage[0] == state.stage[0] + 1
                else:
                    with pytest.raises(GenerationError):
                        generator.advance(state, [decision])
            state = generator.advance(state, [menu[0]])


def check_seeds_matter(generator: Generator, requests: Sequence[Request]) -> None:
    """Equal requests give equal outputs, another seed another one."""
    request = requests[0]
    full = full_decisions(generator, len(generator.stages(request)))
    one, again, other = (
        run_all(generator, [each], [full])[0]
        for each in (request, request, request.with_seed(request.seed + 1))
    )
    assert_same([one], [again], 0.0)
    assert (one != other).any()
