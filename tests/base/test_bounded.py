import os
from pathlib import Path

import pytest

from base.bounded import BoundedFolder, BoundedMemory


def test_memory_forgets_what_was_longest_unused() -> None:
    memory: BoundedMemory[str] = BoundedMemory(10)
    memory.put("a", "A", 4)
    memory.put("b", "B", 4)
    assert memory.get("a") == "A"
    memory.put("c", "C", 4)
    assert [memory.get(key) for key in "abc"] == ["A", None, "C"]
    assert (len(memory), memory.used_bytes) == (2, 8)
    memory.put("c", "C2", 6)  # replaced, not counted twice
    assert memory.get("c") == "C2" and memory.used_bytes == 10
    memory.put("huge", "H", 11)
    assert len(memory) == memory.used_bytes == 0


def test_folder_deletes_the_oldest_of_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("not mine")
    folder = BoundedFolder(tmp_path, 100, (".bin",))
    for age, name in enumerate(("a.bin", "b.bin", "c.bin")):
        folder.write(name, lambda target: target.write_bytes(bytes(30)))
        os.utime(tmp_path / name, (age, age))
    folder.write("b.bin", lambda target: target.write_bytes(bytes(40)))  # 100: nothing goes
    assert len(list(tmp_path.glob("*.bin"))) == 3
    folder.write("d.bin", lambda target: target.write_bytes(bytes(10)))
    assert {path.name for path in tmp_path.iterdir()} == {"note.txt", "b.bin", "c.bin", "d.bin"}
    with pytest.raises(OSError):
        BoundedFolder(tmp_path / "note.txt", 100, (".bin",)).write("a.bin", lambda target: None)
