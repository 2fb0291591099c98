import io
import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eval.json_stream as json_stream
from eval.json_stream import JsonStream

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def _tiny_chunks(monkeypatch):
    monkeypatch.setattr(json_stream, "_CHARACTERS_AT_A_TIME", 3)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(value=ANY_JSON, indent=st.sampled_from([None, 0, 2]))
def test_any_value_is_read_as_json_reads_it(value, indent):
    text = json.dumps(value, indent=indent)
    assert JsonStream(io.StringIO(text)).value() == value
    stream = JsonStream(io.StringIO(f" {text}\n"))
    if isinstance(value, dict):
        assert dict(stream.members()) == value
    elif isinstance(value, list):
        assert list(stream.items()) == value
    else:
        assert stream.value() == value
    stream.end()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text(alphabet='{}[]",:1e-. \nntrue' + string.ascii_lowercase[:3]))
def test_broken_text_is_a_value_error_or_what_json_reads(text):
    stream = JsonStream(io.StringIO(text))
    read = {"{": lambda: dict(stream.members()), "[": lambda: list(stream.items())}
    try:
        found = read.get(stream.peek(), stream.value)()
        stream.end()
    except ValueError:
        with pytest.raises(ValueError):
            json.loads(text)
    else:
        assert found == json.loads(text)


def test_values_may_follow_each_other():
    assert list(JsonStream(io.StringIO('{"a": 1}\n[2]\n3 4\n')).values()) == [{"a": 1}, [2], 3, 4]


def test_the_place_of_an_error_is_told():
    stream = JsonStream(io.StringIO('{"abcdefgh": 1, "i": }'))
    with pytest.raises(ValueError, match="at character 21"):
        list(stream.members())
