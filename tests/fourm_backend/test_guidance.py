"""Guidance over a chain: one weight or several, and what it leaves out."""

import pytest
import torch

from base.errors import ConfigError
from fourm_backend.chain import Chain
from fourm_backend.generator import FourMGenerator
from fourm_backend.task import Task
from fourm_backend.toy import CAPTION, CLIP, RGB, random_model
from tests.fourm_backend.tiny import PIXELS, caption, pixels

MODEL = random_model(CAPTION, PIXELS, CLIP, RGB)


@pytest.mark.parametrize("scheme", ["roar", "maskgit"])
def test_one_weight_is_plain_guidance(scheme: str) -> None:
    settings = {
        "cond_domains": "caption",
        "target_domains": "tok_clip@16",
        "autoregression_schemes": scheme,
        "decoding_steps": 3,
        "cfg_schedules": "constant",
    }
    many = {k: torch.cat([v, v]) for k, v in caption(7, 8).items()}
    weights = Task.from_values({**settings, "cfg_scales": [[2.5]]})
    plain = Task.from_values({**settings, "cfg_scales": 2.5})
    one, other = (Chain(MODEL, t).run({"caption": many}, [1, 2]) for t in (weights, plain))
    assert weights.multi_guided and not plain.multi_guided
    assert torch.equal(one["tok_clip@16"]["tensor"], other["tok_clip@16"]["tensor"])
    assert (one["tok_clip@16"]["tensor"][0] != one["tok_clip@16"]["tensor"][1]).any()


def test_weights_grow_with_the_chain_and_matter() -> None:
    settings = {
        "cond_domains": "caption-rgb@16",
        "target_domains": "tok_clip@16-tok_rgb@16",
        "autoregression_schemes": "roar",
        "decoding_steps": 2,
    }
    given = {"caption": caption(7, 8), "rgb@16": pixels(1)}
    made = []
    for last in (0.0, 3.0):
        scales = [[1.0, 2.0], [1.0, 1.0, last]]
        task = Task.from_values({**settings, "cfg_scales": scales})
        made.append(Chain(MODEL, task).run(given, [1]))
    same = [torch.equal(made[0][n]["tensor"], made[1][n]["tensor"]) for n in task.target_domains]
    assert same == [True, False]
    with pytest.raises(ConfigError, match=r"cfg_scales.* of 3"):
        Task.from_values({**settings, "cfg_scales": [[1.0, 2.0], [1.0, 1.0]]})
    with pytest.raises(ConfigError, match="under control"):
        FourMGenerator(MODEL, task)
    text = {**settings, "target_domains": "caption", "cond_domains": "rgb@16"}
    text |= {"autoregression_schemes": "autoregressive", "cfg_scales": [[2.0]]}
    with pytest.raises(ConfigError, match="text"):
        Chain(MODEL, Task.from_values(text))


def test_a_finished_text_can_be_left_out() -> None:
    """The same text, and another picture: its pass without conditions does not see the text."""
    settings = {
        "cond_domains": "rgb@16",
        "target_domains": "caption-tok_rgb@16",
        "tokens_per_target": [9, None],
        "autoregression_schemes": "autoregressive-maskgit",
        "decoding_steps": 3,
        "cfg_scales": 4.0,
    }
    made = [
        Chain(MODEL, Task.from_values({**settings, "cfg_grow_text": text})).run(
            {"rgb@16": pixels(1)}, [3]
        )
        for text in (False, True)
    ]
    captions, pictures = (
        [each[name]["tensor"] for each in made] for name in ("caption", "tok_rgb@16")
    )
    assert torch.equal(*captions) and not torch.equal(*pictures)
    with pytest.raises(ConfigError, match="cfg_grow_text is 'yes'; expected true or false"):
        Task.from_values({**settings, "cfg_grow_text": "yes"})
