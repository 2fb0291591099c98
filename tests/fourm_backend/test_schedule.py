"""Properties of schedules for all settings, and errors that name the setting."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ConfigError
from fourm_backend.guidance import guidance_scales
from fourm_backend.modalities import REGISTRY
from fourm_backend.schedule import (
    build_chained_generation_schedules,
    continue_schedule,
    cosine_schedule,
    linear_schedule,
)
from fourm_backend.temperatures import temperatures

ONE: dict[str, Any] = {
    "cond_domains": ["caption"],
    "target_domains": ["tok_clip@224"],
    "tokens_per_target": [196],
    "autoregression_schemes": ["maskgit"],
    "decoding_steps": [8],
    "token_decoding_schedules": ["cosine"],
    "temps": [1.0],
    "temp_schedules": ["constant"],
    "cfg_scales": [3.0],
    "cfg_schedules": ["constant"],
}


@given(st.integers(1, 60), st.integers(1, 300))
def test_counts_are_positive_and_add_up(steps: int, tokens: int) -> None:
    for counts in (cosine_schedule(steps, tokens), linear_schedule(steps, tokens)):
        assert sum(counts) == tokens and min(counts) > 0 and len(counts) <= steps


@given(st.integers(1, 20), st.integers(1, 100), st.data())
def test_what_is_left_adds_up(steps: int, tokens: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, tokens))
    assert sum(continue_schedule(linear_schedule(steps, tokens), done)) == tokens - done


@given(st.sampled_from(["constant", "linear", "onex:0.1:0.5"]), st.integers(1, 50))
def test_temperatures_are_above_zero_and_fall(kind: str, tokens: int) -> None:
    values = temperatures(kind, 2.0, linear_schedule(7, tokens))
    assert all(0 < later <= earlier <= 2 for earlier, later in itertools.pairwise([2.0, *values]))


def test_the_worked_example_of_a_clamped_cosine() -> None:
    assert cosine_schedule(5, 6, legacy=True) == [1, 2, 2, 2, -1]
    assert cosine_schedule(5, 6) == [1, 2, 2, 1]


def test_guidance_falls_or_holds_in_an_interval() -> None:
    counts = [1, 1, 1, 1]
    cosine = guidance_scales("cosine", 3, counts)
    assert cosine[0] == 3.0 and cosine[2] == pytest.approx(2.0) and cosine[3] > 1.0  # type: ignore[operator]
    assert guidance_scales("interval:0.25:0.75", 3.0, counts) == [1.0, 3.0, 3.0, 1.0]
    assert guidance_scales("interval:0:0.5", [2.0, -1.0, 0.5], [1, 1]) == [
        [2.0, -1.0, 0.5],
        [1.0, 0.0, 0.5],
    ]
    assert guidance_scales("linear", 3.0, counts) == [3.0, 2.5, 2.0, 1.5]


def test_conditions_grow_with_pictures_and_on_request_with_text() -> None:
    def chain(grow: bool, text: bool = False) -> list[tuple[str, ...]]:
        steps = build_chained_generation_schedules(
            ["rgb@224"],
            ["tok_clip@224", "caption", "tok_rgb@224"],
            [196, 256, 196],
            ["roar", "autoregressive", "maskgit"],
            [1, None, 1],
            ["linear", None, "cosine"],
            [1.0, 1.0, 1.0],
            ["constant"] * 3,
            [2.0, 2.0, 2.0],
            ["constant"] * 3,
            grow,
            REGISTRY,
            cfg_grow_text=text,
        )
        return [step.cfg_cond_domains for step in steps]

    assert chain(False) == [("rgb@224",)] * 3
    assert chain(True) == [("rgb@224",), *[("rgb@224", "tok_clip@224")] * 2]
    with_text = ("rgb@224", "tok_clip@224", "caption")
    assert chain(True, text=True) == [("rgb@224",), ("rgb@224", "tok_clip@224"), with_text]
    assert chain(False, text=True) == [("rgb@224",)] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens_per_target", [0]),
        ("tokens_per_target", [196, 196]),
        ("autoregression_schemes", ["autoregressive"]),
        ("autoregression_schemes", ["sideways"]),
        ("decoding_steps", [None]),
        ("decoding_steps", [2.5]),
        ("token_decoding_schedules", ["quadratic"]),
        ("temp_schedules", ["onex"]),
        ("temp_schedules", ["onex:0.5:many"]),
        ("cfg_scales", ["3.0"]),
        ("cfg_schedules", ["interval:0.5"]),
    ],
)
def test_an_unusable_setting_is_named(name: str, value: list) -> None:
    with pytest.raises(ConfigError, match=name):
        build_chained_generation_schedules(**{**ONE, name: value}, modality_info=REGISTRY)
