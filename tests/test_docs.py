"""Code in docs/ runs as it is written, and what is quoted there is in the file that is named."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("problem", "train", "generator")]
BLOCKS = [
    (page.stem, number, block)
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
]


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=lambda value: str(value)[:12])
def test_python_block(
    page: str,
    number: int,
    block: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path))
    exec(compile(block, f"{page} block {number}", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_quoted_code_is_in_the_toy() -> None:
    page = (ROOT / "docs" / "generator.md").read_text(encoding="utf-8")
    toy = (ROOT / "envs" / "toy.py").read_text(encoding="utf-8")
    quoted = re.findall(r"```python quoted\n(.*?)```", page, flags=re.DOTALL)
    assert len(quoted) == 6
    assert [block for block in quoted if block not in toy] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_files_and_commands_exist(page: Path) -> None:
    import prunegym

    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    named = re.findall(r"`((?:envs|agents|tests|benchmarks|configs)/[\w/.]+)`", text)
    named += re.findall(r"--(?:config|conf-file) (\S+\.ya?ml)", text)
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []
    commands = re.findall(r"^prunegym ([\w-]+)", text, flags=re.MULTILINE)
    assert [command for command in commands if command not in prunegym.COMMANDS] == []
