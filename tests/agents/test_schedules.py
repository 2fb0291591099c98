import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.schedules import format_schedule, parse_schedule
from base.errors import ConfigError

STAGES = ("1x1", "2x2", "4x4", "8x8", "12x12", "16x16")
WIDE = ("1x2", "2x4", "3x6", "4x6")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8:0.4,12:0.5,16:1.0", (0, 0, 0, 0.4, 0.5, 1)),
        (" 8 : .4 , 16x16:1 ", (0, 0, 0, 0.4, 0, 1)),
        ("si=3:0.25", (0, 0, 0, 0.25, 0, 0)),
        ("tail=[0.4, 0.5,1]", (0, 0, 0, 0.4, 0.5, 1)),
        ("4:0.1,tail=[1,1]", (0, 0, 0.1, 0, 1, 1)),
        ("16:1e-1", (0, 0, 0, 0, 0, 0.1)),
        ("16:-0", (0, 0, 0, 0, 0, 0)),
    ],
)
def test_reads(text, expected):
    ratios = parse_schedule(text, STAGES)
    assert ratios == expected
    assert all(math.copysign(1, ratio) == 1 for ratio in ratios)


@pytest.mark.parametrize(
    ("text", "character", "words"),
    [
        ("64:1.0", 1, "'64' is not a stage"),
        ("8:0.4,64:1.0", 7, "1x1, 2x2, 4x4, 8x8, 12x12, 16x16"),
        ("8:1.5", 1, "outside [0, 1]"),
        ("8:-0.1", 1, "outside [0, 1]"),
        ("8:nan", 1, "not a decimal number"),
        ("8:inf", 1, "not a decimal number"),
        ("8:1_0", 1, "not a decimal number"),
        ("8:\u0660", 1, "not a decimal number"),
        ("8", 1, "no colon"),
        ("8:0,4", 5, "decimals with a point"),
        ("abc", 1, "no colon"),
        ("8:0.5,8x8:0.7", 7, "8x8 is set twice"),
        ("8:0.5,si=3:0.5", 7, "8x8 is set twice"),
        ("tail=[1,1],16:1", 12, "16x16 is set twice"),
        ("8:0.5,", 7, "empty"),
        ("8:0.5,,16:1", 7, "empty"),
        ("", 1, "none"),
        ("   ", 1, "none"),
        ("si=6:1", 1, "the last is 5"),
        ("si=-1:1", 1, "not a stage"),
        ("tail=[1,1,1,1,1,1,1]", 1, "7 ratios"),
        ("tail=[]", 1, "not a decimal number"),
        ("tail=[1,1", 1, "no colon"),
        ("8:0.4;12:0.5", 1, "not a stage"),
    ],
)
def test_refuses_with_position(text, character, words):
    with pytest.raises(ConfigError) as caught:
        parse_schedule(text, STAGES)
    assert f"character {character}" in str(caught.value)
    assert words in str(caught.value)


def test_wide_grids_are_named_by_width_or_grid():
    assert parse_schedule("4:0.5,4x6:1", WIDE) == (0, 0.5, 0, 1)
    with pytest.raises(ConfigError, match="fits several stages"):
        parse_schedule("6:0.5", WIDE)


@given(st.lists(st.integers(0, 1000), min_size=6, max_size=6))
def test_round_trip(thousandths):
    ratios = tuple(number / 1000 for number in thousandths)
    assert parse_schedule(format_schedule(ratios, STAGES), STAGES) == ratios


@given(st.lists(st.integers(0, 100), min_size=1, max_size=6))
def test_tail_is_the_end(hundredths):
    ratios = [number / 100 for number in hundredths]
    text = f"tail=[{','.join(map(str, ratios))}]"
    assert parse_schedule(text, STAGES) == (0.0,) * (6 - len(ratios)) + tuple(ratios)


@given(st.text(alphabet="0123456789x:.,=[]sitale +-nN \t", max_size=30))
def test_any_text_is_read_or_refused_by_config_error(text):
    try:
        ratios = parse_schedule(text, STAGES)
    except ConfigError as error:
        assert "character" in str(error)
    else:
        assert len(ratios) == len(STAGES)
        assert all(0 <= ratio <= 1 for ratio in ratios)
