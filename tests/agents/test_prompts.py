import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.prompts import PromptRecord, read_prompts
from base.errors import DataError


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_text_file(tmp_path):
    path = write(tmp_path, "prompts.txt", "\ufeffa red circle\n\n  a blue 🟦 square \r\n")
    assert read_prompts(path, first_seed=42) == [
        PromptRecord("00001", "a red circle", 42),
        PromptRecord("00003", "a blue 🟦 square", 43),
    ]


def test_json_lines(tmp_path):
    lines = (
        '{"id": "a", "prompt": "one", "seed": 7, "category": "plain"}\n{"prompt": "two\u2028"}\n'
    )
    assert read_prompts(write(tmp_path, "prompts.jsonl", lines)) == [
        PromptRecord("a", "one", 7, "plain"),
        PromptRecord("00002", "two\u2028", 1),
    ]


def test_json_list_and_metadata_form(tmp_path):
    listed = write(tmp_path, "list.json", '["one", {"prompt": "two", "id": 12}]')
    assert [record.id for record in read_prompts(listed)] == ["00001", "12"]
    metadata = {"x_1": {"prompt": "one", "seed": 3, "controller": "none"}, "x_2": "two"}
    found = read_prompts(write(tmp_path, "meta_data.json", json.dumps(metadata)))
    assert found == [PromptRecord("x_1", "one", 3), PromptRecord("x_2", "two", 1)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "", "holds no prompts"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("a.csv", "x", ".csv"),
        ("a.json", "3", "expected a list or an object"),
        ("a.json", "[1]", "entry 1"),
        ("a.json", '{"a": {"prompt": null}}', "'a'.*None"),
        ("a.json", '{"a": "x", "a": "y"}', "repeated.*'a'"),
        ("a.json", "[" * 100_000, "not valid JSON"),
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": ', "line 2.*not valid JSON"),
        ("a.jsonl", '{"prompt": "x", "id": "a"}\n\n{"prompt": "x", "id": "A"}', "line 3.*line 1"),
        ("a.jsonl", '{"prompt": "x", "seed": -1}', "line 1.*-1"),
        ("a.jsonl", '{"prompt": "x", "seed": true}', "True"),
        ("a.jsonl", '{"prompt": "x", "seed": 1.5}', "1.5"),
        ("a.jsonl", '{"prompt": "x", "category": 1}', "category"),
    ],
)
def test_broken_files_are_named_with_the_place(tmp_path, name, content, words):
    with pytest.raises(DataError, match=words):
        read_prompts(write(tmp_path, name, content))


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.txt does not exist"):
        read_prompts(tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    "identifier",
    [
        "../x",
        "/etc/passwd",
        "C:\\x",
        "a\x00b",
        "con",
        "NUL.png",
        "",
        ".hidden",
        "a.",
        "a b",
        "meta_data",
        "a/b",
        "é",
    ],
)
def test_names_that_cannot_be_files_are_refused(tmp_path, identifier):
    path = write(tmp_path, "a.json", json.dumps([{"prompt": "x", "id": identifier}]))
    with pytest.raises(DataError, match="cannot be a file name"):
        read_prompts(path)


@pytest.mark.parametrize("identifier", ["x" * 300, None, 1.5, True, ["a"]])
def test_ids_that_are_no_names_are_refused(tmp_path, identifier):
    path = write(tmp_path, "a.json", json.dumps([{"prompt": "x", "id": identifier}]))
    with pytest.raises(DataError, match="cannot be a file name"):
        read_prompts(path)


@given(st.text(max_size=200))
def test_any_json_is_read_or_refused(tmp_path_factory, text):
    path = write(tmp_path_factory.mktemp("any"), "a.json", text.encode("utf-8", "replace"))
    try:
        records = read_prompts(path)
    except DataError as error:
        assert "a.json" in str(error)
    else:
        assert records


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_noise_cannot_have_is_refused(seed):
    with pytest.raises(DataError, match=f"prompt one: its seed is {seed}; expected 0 to"):
        PromptRecord("one", "a", seed)
