"""What the README shows runs as it is written."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_block(
    number: int,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path))
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_first_example_is_ten_lines_or_so() -> None:
    assert len(BLOCKS) == 2 and len(BLOCKS[0].strip().splitlines()) <= 11


def test_every_named_file_exists() -> None:
    root = Path(__file__).parents[1]
    names = re.findall(r"\]\(([^)#:]+)\)", README)
    names += re.findall(r"--config (\S+\.yaml)", README)
    assert names
    missing = [name for name in names if not (root / name).exists()]
    assert not missing
