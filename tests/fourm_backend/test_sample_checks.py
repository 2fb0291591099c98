"""Samples and chains that a model cannot take, refused by name before the first token is made."""

from typing import Any

import pytest
import torch

from base.errors import ConfigError, DataError
from fourm_backend.chain import Chain
from fourm_backend.task import Task
from fourm_backend.toy import CAPTION, CLIP, RGB, random_model
from tests.fourm_backend.tiny import PIXELS, VECTORS, caption, pixels

MODEL = random_model(CAPTION, PIXELS, VECTORS, CLIP, RGB)
SETTINGS = {
    "cond_domains": "caption",
    "target_domains": "tok_clip@16",
    "autoregression_schemes": "MaskGIT",  # as the published files may write it
    "decoding_steps": 2,
}


def chain(**settings: Any) -> Chain:
    return Chain(MODEL, Task.from_values({**SETTINGS, **settings}))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "the task takes"),
        ({"caption": caption(7), "rgb@16": pixels()}, "the task takes"),
        ({"caption": {"input_mask": torch.zeros(1, 3, dtype=torch.bool)}}, r"no \['tensor'"),
        ({"caption": {**caption(7), "tensor": torch.tensor([[900, 3]])}}, "from 3 to 900"),
        ({"caption": {k: v.repeat(2, 1) for k, v in caption(7).items()}}, "2 rows for 1 seeds"),
    ],
)
def test_conditions_that_do_not_fit(given: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        chain().run(given, [1])


def test_a_condition_that_the_model_does_not_know() -> None:
    with pytest.raises(ConfigError, match=r"cond_domains has \['sound'\]"):
        chain(cond_domains="sound")
    with pytest.raises(ConfigError, match="tokens_per_target has 0"):
        chain(
            cond_domains="rgb@16",
            target_domains="caption",
            autoregression_schemes="autoregressive",
            tokens_per_target=0,
        )


@pytest.mark.parametrize("name", ["rgb@16", "t5_caption"])
def test_a_condition_of_which_nothing_is_visible_is_no_condition(name: str) -> None:
    entry = pixels()
    if name == "t5_caption":
        entry = {
            "tensor": torch.zeros(1, 6, 8),
            "target_mask": torch.ones(1, 6, dtype=torch.bool),
            "input_mask": torch.ones(1, 6, dtype=torch.bool),
        }
    hidden = {**entry, "input_mask": torch.ones_like(entry["input_mask"])}
    made = chain(cond_domains=name, cfg_scales=1.0).run({name: hidden}, [3])["tok_clip@16"]
    free = chain(cond_domains=[], cfg_scales=1.0).run({}, [3])["tok_clip@16"]
    assert torch.equal(made["tensor"], free["tensor"])
