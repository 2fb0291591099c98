"""Prefixes are made once, kept within limits, and change nothing."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.errors import ConfigError
from envs.prefixes import PrefixCache, run_full
from envs.pruning_env import PruningEnv
from envs.sb3_vec_env import PruningVecEnv
from envs.toy import ToyGenerator, ToyRequest
from infinity_backend.generator import InfinityGenerator
from tests.infinity_backend.tiny import requests, tiny_generator

REQUESTS = requests(4)
FULL = {"prune_ratio": 0.0, "guidance": True}
FIRST = 2


class Counting(InfinityGenerator):
    """Counts the rows of each batch that is begun."""

    batches: list[int]

    def begin(self, requests: Sequence[Any]) -> Any:
        self.batches.append(len(requests))
        return super().begin(requests)


def counting() -> Counting:
    generator = Counting(tiny_generator().pipeline)
    generator.batches = []
    return generator


def finish(generator: InfinityGenerator, state: Any) -> np.ndarray:
    while not state.done.all():
        state = generator.advance(state, [{**FULL, "prune_ratio": 0.5}] * len(state.requests))
    return generator.finish(state)


@pytest.mark.parametrize("on_disk", [False, True])
def test_made_once_and_the_same(tmp_path: Path, on_disk: bool) -> None:
    generator, folder = counting(), tmp_path if on_disk else None
    cache = PrefixCache(folder)
    first = cache.get(generator, REQUESTS, FIRST)
    if on_disk:
        cache = PrefixCache(folder)
    asked = [REQUESTS[2], REQUESTS[0], REQUESTS[2]]
    again = cache.get(generator, asked, FIRST)
    assert generator.batches == [4]
    assert again.requests == tuple(asked) and again.stage.tolist() == [FIRST] * 3
    np.testing.assert_array_equal(generator.features(again), generator.features(first)[[2, 0, 2]])
    images = finish(generator, first)
    np.testing.assert_array_equal(finish(generator, again), images[[2, 0, 2]])
    cache.get(generator, [*REQUESTS, requests(5)[4]], FIRST)  # only what is missing is made
    assert generator.batches == [4, 1]
    cache.get(generator, REQUESTS, FIRST + 1)  # another number of stages is another prefix
    assert generator.batches == [4, 1, 4]


def test_rows_packed_at_any_stage_go_on_as_if_nothing_happened() -> None:
    generator = tiny_generator()
    state = run_full(generator, REQUESTS, 1)
    ratios = [0.0, 0.5, 1.0, 0.5]  # one is skipped, one loses its guidance
    for guidance in (True, False):
        decisions = [
            {"prune_ratio": r, "guidance": guidance or k != 3} for k, r in enumerate(ratios)
        ]
        state = generator.advance(state, decisions)
    again = generator.unpack(REQUESTS, generator.pack(state))
    without = [{"prune_ratio": 0.0, "guidance": k != 3} for k in range(4)]
    np.testing.assert_array_equal(generator.cost(again, without), generator.cost(state, without))
    np.testing.assert_array_equal(generator.features(again), generator.features(state))
    while not state.done.all():
        state, again = (generator.advance(each, without) for each in (state, again))
    np.testing.assert_array_equal(generator.finish(again), generator.finish(state))


def test_limits(tmp_path: Path) -> None:
    generator = counting()
    cache = PrefixCache()
    cache.get(generator, REQUESTS[:1], FIRST)
    size = cache.kept.memory.used_bytes
    small = PrefixCache(memory_bytes=int(1.5 * size))
    small.get(generator, REQUESTS[:3], FIRST)
    assert len(small.kept.memory) == 1 and small.kept.memory.used_bytes <= 1.5 * size
    disk = PrefixCache(tmp_path, disk_bytes=3 * size)
    disk.get(generator, REQUESTS, FIRST)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * size
    with pytest.raises(ConfigError, match="memory_bytes=0"):
        PrefixCache(memory_bytes=0)


def test_damaged_files_are_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = counting()
    PrefixCache(tmp_path).get(generator, REQUESTS[:1], FIRST)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        PrefixCache(tmp_path).get(generator, REQUESTS[:1], FIRST)
    assert generator.batches == [1, 1] and "is damaged" in caplog.text
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        PrefixCache(tmp_path / "file").get(generator, REQUESTS[:1], FIRST)
    assert "memory only" in caplog.text


def test_the_environment_keeps_prefixes_and_books() -> None:
    generator = counting()
    env = PruningVecEnv(generator, REQUESTS, 2, first_controlled_stage=FIRST, shuffle=False)
    env.seed(0)
    env.reset()
    steps = generator.max_stages - FIRST
    for _ in range(4 * steps):  # twice through the requests
        _, _, dones, infos = env.step(np.array([1, 2]))
    assert generator.batches == [2, 2, 2, 2]  # references and prefixes of each pair, once
    single = PruningEnv(tiny_generator(), REQUESTS, first_controlled_stage=FIRST)
    single.reset(options={"request": 3})
    for _ in range(steps):
        info = single.step(2)[4]
    assert dones.all()
    for name in ("costs_flops", "saved", "ssim"):
        assert infos[1][name] == pytest.approx(info[name])
    assert infos[1]["decisions"] == info["decisions"]


def test_generators_that_cannot_pack_and_fresh_seeds_do_without() -> None:
    cache = PrefixCache()
    state = cache.get(ToyGenerator(), [ToyRequest(1)], 1)
    assert state.stage.tolist() == [1] and len(cache.kept.memory) == 0
    generator = counting()
    env = PruningEnv(
        generator, REQUESTS, fresh_seeds=True, prefix_cache=cache, first_controlled_stage=FIRST
    )
    env.reset(seed=0)
    assert len(cache.kept.memory) == 0
