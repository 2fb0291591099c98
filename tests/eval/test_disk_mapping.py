import os
import subprocess
import sys

import pytest

from eval.disk_mapping import DiskMapping


def test_it_is_a_mapping_in_the_order_of_its_keys():
    pairs = [("é", "1"), ("b", "2"), ("a\0c", "3"), ("", "4"), ("b", "5"), ("\U0001f600", "6")]
    mapping = DiskMapping(str, str, pairs)
    mapping["a"] = "7"
    expected = dict(sorted((dict(pairs) | {"a": "7"}).items()))
    assert list(mapping) == list(expected)
    assert list(mapping.items()) == list(expected.items())
    assert list(mapping.values()) == list(expected.values())
    assert mapping == expected
    assert len(mapping) == 6
    assert "b" in mapping
    assert "c" not in mapping
    assert 3 not in mapping
    assert mapping.get("c") is None
    with pytest.raises(KeyError, match="c"):
        mapping["c"]


def test_values_are_what_dump_and_load_make_of_them():
    mapping = DiskMapping(lambda value: os.fsencode(value), os.fsdecode, [("a", "caf\udce9.png")])
    assert mapping["a"] == "caf\udce9.png"


LARGE = """
import resource, sys
from eval.disk_mapping import DiskMapping
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mapping = DiskMapping(str, str, ((f"{i:06d}", "x" * 1000) for i in range(int(sys.argv[1]))))
assert sum(len(value) for value in mapping.values()) == 1000 * int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_it():
    done = subprocess.run(
        [sys.executable, "-c", LARGE, "60000"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 20_000  # KiB; the values take 60 000
