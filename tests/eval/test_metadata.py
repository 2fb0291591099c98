import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.folders import find_images
from eval.json_stream import JsonStream
from eval.metadata import read_metadata
from eval.prompts import prompt_in, resolve_prompts
from eval.records import stream_records

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "prompt", "prompts", "file_name", "paths"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


def prompts_of(path, text, name="meta_data.json"):
    path.mkdir(exist_ok=True)
    (path / name).write_text(text, encoding="utf-8")
    metadata = read_metadata(find_images(path))
    return {key: prompt.text for key in metadata.entries if (prompt := prompt_in(metadata, key))}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(value=ANY_JSON)
def test_any_json_gives_names_and_records(value):
    for record in stream_records(JsonStream(io.StringIO(json.dumps(value)))):
        assert isinstance(record.name, str)
        assert isinstance(record.fields, dict)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(content=st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_warned_about(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("any")
    (path / "meta_data.json").write_bytes(content)
    metadata = read_metadata(find_images(path))
    assert all(isinstance(entry.prompt, str) for entry in metadata.entries.values())
    assert all(key.encode("utf-8") for key in metadata.entries if key)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    wanted=st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
        st.text(min_size=1),
        max_size=5,
    )
)
def test_every_shape_says_the_same(wanted, tmp_path_factory):
    path = tmp_path_factory.mktemp("shapes")
    as_records = [{"id": key, "prompt": text} for key, text in wanted.items()]
    shapes = [
        json.dumps(wanted),
        json.dumps({key: {"prompt": text} for key, text in wanted.items()}),
        json.dumps(as_records),
        json.dumps({"prompts": as_records}),
        json.dumps([{"file_name": f"{k}.png", "prompt": t} for k, t in wanted.items()]),
        json.dumps([{"paths": [f"out/{k}.jpg"], "prompt": t} for k, t in wanted.items()]),
    ]
    found = [
        {key: text for key, text in prompts_of(path, shape).items() if key in wanted}
        for shape in shapes
    ]
    assert all(prompts == found[0] for prompts in found)
    assert found[0].keys() == wanted.keys()


def test_json_lines_are_read_where_the_whole_is_no_json(tmp_path):
    lines = '{"id": "a", "prompt": "first"}\n\n{"id": "b", "prompt": "second"}\n'
    assert prompts_of(tmp_path, lines) == {"a": "first", "b": "second"}


def test_a_single_record_is_a_record_and_not_two_prompts(tmp_path):
    assert prompts_of(tmp_path, '{"id": "a", "prompt": "one"}') == {"a": "one"}


def test_dots_in_ids_are_kept_unless_they_start_an_image_extension(tmp_path):
    found = prompts_of(tmp_path, '{"v1.5": "x", "b.PNG": "y", "c:\\\\images\\\\d.jpg": "z"}')
    assert found["v1.5"] == "x"
    assert "v1" not in found
    assert (found["b"], found["d"]) == ("y", "z")


def test_the_exact_id_wins_over_a_base_name(tmp_path):
    assert prompts_of(tmp_path, '{"x/a.png": "by path", "a": "exact"}')["a"] == "exact"


def test_meta_data_wins_as_a_whole_and_broken_files_are_warnings(tmp_path):
    (tmp_path / "metadata.json").write_text('{"a": "second file", "b": "only here"}')
    assert prompts_of(tmp_path, '{"a": "first file"}') == {"a": "first file"}
    (tmp_path / "meta_data.json").write_text("{ broken")
    metadata = read_metadata(find_images(tmp_path))
    assert metadata.entries.keys() == {"a", "b"}
    assert "meta_data.json was ignored" in metadata.warnings[0]


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "", "\ufeff", '"text"', "null"])
def test_hostile_json_is_no_trouble(tmp_path, text):
    assert prompts_of(tmp_path, text) == {}


def test_ids_that_come_twice_are_named(tmp_path):
    assert prompts_of(tmp_path, '{"a": "one", "a": "two"}') == {"a": "two"}
    assert "more than once" in read_metadata(find_images(tmp_path)).warnings[0]


def test_ids_are_names_and_never_paths(tmp_path):
    ids = ["../../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000, "con"]
    found = prompts_of(tmp_path, json.dumps(dict.fromkeys(ids, "prompt")))
    assert set(ids) <= found.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["meta_data.json"]


def test_nested_images_have_their_own_file_before_the_common_one(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / f"gen_images_{name}").mkdir()
        (tmp_path / f"gen_images_{name}" / "1.jpg").write_bytes(b"x")
    own = {"pruning_scales": {"64": 1.0}, "prompt": {"prompt_name": "cat", "prompt": "own"}}
    (tmp_path / "gen_images_cat" / "config.json").write_text(json.dumps(own))
    common = [{"prompt_name": name, "prompt": f"common {name}"} for name in ("cat", "dog")]
    found = prompts_of(tmp_path, json.dumps({"prompts": common}), "config_all.json")
    assert found == {"cat": "own", "dog": "common dog"}


def test_the_original_folder_wins_and_disagreement_is_a_warning(tmp_path):
    texts = {
        "Original": '{"a": "original", "c": {"category": "x"}}',
        "RL": '{"a": "other", "b": "from RL"}',
    }
    metadata = {}
    for name, text in texts.items():
        prompts_of(tmp_path / name, text)
        metadata[name] = read_metadata(find_images(tmp_path / name))
    prompts, warnings = resolve_prompts(["a", "b", "c_d__e"], metadata)
    assert (prompts["a"].text, prompts["a"].source) == ("original", "Original/meta_data.json")
    assert (prompts["b"].text, prompts["b"].source) == ("from RL", "RL/meta_data.json")
    assert (prompts["c_d__e"].text, prompts["c_d__e"].source) == ("c d  e", "file name")
    assert len(warnings) == 1
    assert "1 images" in warnings[0]


@pytest.mark.parametrize("value", ["", 12, None, ["x"], {"prompt": "x"}])
def test_a_prompt_that_is_no_text_does_not_count(tmp_path, value):
    prompts_of(tmp_path, json.dumps({"a": {"prompt": value}}))
    assert prompt_in(read_metadata(find_images(tmp_path)), "a") is None
