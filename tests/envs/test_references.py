"""References are made once, kept within limits, and never trusted blindly."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.errors import ConfigError
from envs.references import ReferenceCache, generate_full
from envs.toy import ToyGenerator, ToyRequest

REQUESTS = [ToyRequest(index) for index in range(4)]


class Counting(ToyGenerator):
    """Counts the batches that are begun."""

    def __init__(self, output_kind: str = "image"):
        super().__init__(output_kind)
        self.batches: list[int] = []

    def begin(self, requests: Sequence[ToyRequest]) -> Any:
        self.batches.append(len(requests))
        return super().begin(requests)


def assert_equal(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_made_once_in_batch_and_in_order() -> None:
    generator, cache = Counting(), ReferenceCache(batch_size=3)
    asked = [REQUESTS[2], REQUESTS[0], REQUESTS[2], REQUESTS[1], REQUESTS[3]]
    found = cache.get(generator, asked)
    assert generator.batches == [3, 1]
    assert_equal(found, generate_full(ToyGenerator(), asked))
    assert_equal(cache.get(generator, asked), found)
    assert generator.batches == [3, 1]
    with pytest.raises(ValueError, match="read-only"):
        found[0][0] = 1


@pytest.mark.parametrize("kind", ["image", "tokens"])
def test_disk_keeps_them_between_runs(tmp_path: Path, kind: str) -> None:
    first = ReferenceCache(tmp_path).get(ToyGenerator(kind), REQUESTS)
    generator = Counting(kind)
    assert_equal(ReferenceCache(tmp_path).get(generator, REQUESTS), first)
    assert generator.batches == []
    suffixes = {path.suffix for path in tmp_path.iterdir()}
    assert suffixes == {".png" if kind == "image" else ".npz"}
    generator.fingerprint = "another"
    ReferenceCache(tmp_path).get(generator, REQUESTS)
    assert generator.batches == [4]


def damage_cut(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def damage_empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def damage_flip(path: Path, other: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def damage_swap(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("kind", ["image", "tokens"])
@pytest.mark.parametrize("damage", [damage_cut, damage_empty, damage_flip, damage_swap])
def test_damaged_files_are_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, damage: Any
) -> None:
    first = ReferenceCache(tmp_path).get(ToyGenerator(kind), REQUESTS)
    path, other = sorted(tmp_path.iterdir())[:2]
    damage(path, other)
    generator = Counting(kind)
    with caplog.at_level(logging.WARNING):
        assert_equal(ReferenceCache(tmp_path).get(generator, REQUESTS), first)
    assert generator.batches == [1] and path.name in caplog.text
    generator.batches.clear()
    ReferenceCache(tmp_path).get(generator, REQUESTS)
    assert generator.batches == []


def test_limits(tmp_path: Path) -> None:
    size = 16 * 16 * 3
    generator, cache = Counting(), ReferenceCache(memory_bytes=2 * size)
    cache.get(generator, REQUESTS)
    cache.get(generator, REQUESTS[2:])  # the newest two are in memory
    assert generator.batches == [4]
    cache.get(generator, REQUESTS[:1])
    assert generator.batches == [4, 1]

    ReferenceCache(tmp_path).get(generator, REQUESTS)
    files = list(tmp_path.iterdir())
    for age, path in enumerate(files):
        os.utime(path, (1000 - age, 1000 - age))
    limit = sum(path.stat().st_size for path in files)
    ReferenceCache(tmp_path, disk_bytes=limit).get(generator, [ToyRequest(9)])
    left = set(tmp_path.iterdir())
    assert sum(path.stat().st_size for path in left) <= limit
    assert files[-1] not in left and files[0] in left and len(left) < 5
    with pytest.raises(ConfigError, match="disk_bytes=0"):
        ReferenceCache(disk_bytes=0)


def test_a_folder_that_cannot_be_written_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    generator, cache = Counting(), ReferenceCache(tmp_path / "file" / "folder")
    with caplog.at_level(logging.WARNING):
        cache.get(generator, REQUESTS)
    assert "memory only" in caplog.text
    cache.get(generator, REQUESTS)
    assert generator.batches == [4]
