"""Generation beyond the recorded cases: ragged batches, unseeded guidance, text, wrong input."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from base.errors import ConfigError, DataError, GenerationError
from fourm_backend.decoding import ask, joined, read_contexts
from fourm_backend.dense import generate_sam_dense
from fourm_backend.generate import empty_targets, generate, generate_iter
from fourm_backend.multi_guided import generate_multi_guided
from fourm_backend.samples import continued_text
from fourm_backend.sampling import SiteNoise, filter_logits
from fourm_backend.schedule import Step
from fourm_backend.task import Task
from fourm_backend.toy import CAPTION, CLIP, RGB, random_model
from tests.fourm_backend.tiny import PIXELS, caption, pixels

MODEL = random_model(CAPTION, PIXELS, CLIP, RGB)


def steps(*targets: str, **settings: Any) -> list[Step]:
    values = {"decoding_steps": 3, "temps": 1.0, "temp_schedules": "constant", "cfg_scales": 2.0}
    task = Task.from_values({**values, "target_domains": list(targets), **settings})
    return task.schedule(MODEL.config.modalities)


def padded(ids: list[int], length: int) -> dict[str, Tensor]:
    entry = caption(*ids)
    tail = length - entry["tensor"].shape[1]
    fills = {"tensor": 0, "input_mask": True, "target_mask": True, "decoder_attention_mask": False}
    return {
        key: torch.nn.functional.pad(value, (0, tail), value=fills[key])
        for key, value in entry.items()
    }


@pytest.mark.parametrize("scheme", ["roar", "maskgit", "autoregressive"])
def test_a_row_of_a_ragged_batch_is_that_row_alone(scheme: str) -> None:
    """One row even has no visible condition at all: it must not see its neighbours' padding."""
    text = scheme == "autoregressive"
    target = "caption" if text else "tok_clip@16"
    schedule = steps(
        target,
        autoregression_schemes=scheme,
        cond_domains="rgb@16",
        tokens_per_target=9 if text else None,
    )
    rows = [pixels(1), pixels(2), pixels(3)]
    rows[1]["input_mask"][:, 5:] = True
    rows[2]["input_mask"][:] = True
    together = {key: torch.cat([row[key] for row in rows]) for key in rows[0]}
    lengths = {target: 9} if text else {}
    seeds = [4, 5, 6]
    batch = generate(
        MODEL,
        empty_targets(MODEL, {"rgb@16": together}, schedule, lengths),
        schedule,
        noise=SiteNoise(seeds),
    )[target]
    for row, (entry, seed) in enumerate(zip(rows, seeds, strict=True)):
        alone = generate(
            MODEL,
            empty_targets(MODEL, {"rgb@16": entry}, schedule, lengths),
            schedule,
            noise=SiteNoise([seed]),
        )[target]
        used = ~batch["input_mask"][row]
        assert torch.equal(batch["tensor"][row][used], alone["tensor"][0][~alone["input_mask"][0]])


def test_guidance_without_a_seed_asks_one_set_of_positions() -> None:
    seen: list[Tensor] = []

    def record(name: str, value: Any) -> None:
        if name == "pass":
            seen.append(value[1])

    schedule = steps("tok_clip@16", autoregression_schemes="roar", cond_domains="caption")
    sample = empty_targets(MODEL, {"caption": caption(7, 8)}, schedule)
    generate(MODEL, sample, schedule, record=record)
    assert len(seen) == 6
    for one, other in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(one, other)


def test_the_argument_stays_and_steps_are_shown() -> None:
    schedule = steps("tok_clip@16", cond_domains="caption", token_decoding_schedules="linear")
    sample = empty_targets(MODEL, {"caption": caption(7, 8)}, schedule)
    before = {name: entry["tensor"].clone() for name, entry in sample.items()}
    shown = [made["tok_clip@16"] for made in generate_iter(MODEL, sample, schedule, seed=3)]
    assert [int(entry["target_mask"].sum()) for entry in shown] == [6, 11, 16]
    assert torch.equal(
        shown[-1]["tensor"], generate(MODEL, sample, schedule, seed=3)["tok_clip@16"]["tensor"]
    )
    for name, tensor in before.items():
        assert torch.equal(sample[name]["tensor"], tensor)


def test_text_goes_on_from_what_is_given() -> None:
    given = continued_text([220, 221, 5], [6], 8)
    schedule = steps(
        "caption",
        autoregression_schemes="autoregressive",
        cond_domains="rgb@16",
        decoding_steps=None,
    )
    made = generate(MODEL, {"rgb@16": pixels(), "caption": given}, schedule, seed=1)["caption"]
    assert made["tensor"][0, :2].tolist() == [220, 221] and bool(made["target_mask"].all())
    short = {**given, "target_mask": torch.ones_like(given["target_mask"])}
    with pytest.raises(DataError, match="no position to fill"):
        generate(MODEL, {"rgb@16": pixels(), "caption": short}, schedule, seed=1)


def test_samples_and_schedules_that_do_not_fit() -> None:
    schedule = steps("tok_clip@16", cond_domains="caption")
    sample = empty_targets(MODEL, {"caption": caption(7)}, schedule)
    with pytest.raises(DataError, match="tok_clip@16"):
        generate(MODEL, {"caption": caption(7)}, schedule)
    with pytest.raises(DataError, match="strange"):
        generate(MODEL, {**sample, "strange": caption(7)}, schedule)
    with pytest.raises(ConfigError, match="cannot make 'rgb@16'"):
        step = Step("rgb@16", "roar", 4, 1.0, 1.0, ())
        generate(MODEL, {"rgb@16": pixels()}, [step])
    weights = [Step("tok_clip@16", "roar", 16, 1.0, [1.0, 2.0], ("caption",))]
    with pytest.raises(ConfigError, match="generate_multi_guided"):
        generate(MODEL, sample, weights)
    with pytest.raises(ConfigError, match="list of weights"):
        generate_multi_guided(MODEL, sample, [], schedule)
    with pytest.raises(ConfigError, match="sam_instance"):
        generate_sam_dense(MODEL, sample, schedule)
    ragged = empty_targets(
        MODEL, {"caption": {k: v.repeat(2, 1) for k, v in caption(7).items()}}, schedule
    )
    ragged["tok_clip@16"]["target_mask"][0, :3] = True  # type: ignore[index]
    with pytest.raises(GenerationError, match=r"\[13, 16\]"):
        generate(MODEL, ragged, schedule)


def test_values_that_are_not_finite_are_an_error() -> None:
    model = random_model(CAPTION, CLIP)
    model.target("tok_clip@16").to_logits.weight[0, 0] = torch.nan
    schedule = steps("tok_clip@16", cond_domains="caption")
    with pytest.raises(GenerationError, match=r"tok_clip@16: logits are not finite"):
        generate(model, empty_targets(model, {"caption": caption(7)}, schedule), schedule)


def test_a_share_of_the_vocabulary_and_a_count_differ() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    kept = [int(filter_logits(logits, k).isfinite().sum()) for k in (1, 1.0, 0.5, 0.1, 50)]
    assert kept == [1, 4, 2, 1, 4]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("6.0-0.5", (6.0, 0.5)),
        ("-1.0-2", (-1.0, 2.0)),
        ("2.0--1.0", (2.0, -1.0)),
        ("1e-3-5E-1", (1e-3, 0.5)),
        ([3, "-1e-2"], (3.0, -0.01)),
    ],
)
def test_hyphens_of_lists_and_of_numbers(text: Any, items: tuple[float, ...]) -> None:
    values = {"target_domains": "tok_clip@16-tok_rgb@16", "cfg_scales": text}
    assert Task.from_values(values).cfg_scales == items


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temps", "1.0--2.0"),
        ("top_p", 1.5),
        ("cond_domains", "tok_rgb@16"),
        ("temps", "1.0-warm"),
        ("decoding_steps", "2.5"),
        ("cfg_scales", "1-"),
        ("surprise", 1),
    ],
)
def test_settings_that_cannot_be_read_are_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        Task.from_values({"target_domains": "tok_clip@16-tok_rgb@16", name: value})


def test_passes_of_equal_length_run_together_and_see_no_padding() -> None:
    """Against each pass alone; rows without any context at all are the hard case."""
    long, short = empty_sample(pixels(1), 0), empty_sample(pixels(2), 3)
    for passes, groups in (
        ([long, short], 1),
        ([long, empty_sample(pixels(3), 14)], 2),
        ([long, empty_sample(pixels(3), 16)], 2),
    ):
        contexts = read_contexts(MODEL, passes)
        assert len(contexts) == groups
        positions = torch.tensor([[3, 0, 9]])
        made = [x for c in contexts for x in ask(MODEL, c, "tok_clip@16", positions)]
        padded_together = ask(MODEL, joined(contexts), "tok_clip@16", positions)
        for each, one, other in zip(passes, made, padded_together, strict=True):
            (alone,) = ask(MODEL, read_contexts(MODEL, [each])[0], "tok_clip@16", positions)
            torch.testing.assert_close(one, alone, atol=1e-5, rtol=0)
            torch.testing.assert_close(other, alone, atol=1e-5, rtol=0)


def empty_sample(entry: dict[str, Tensor], hidden: int) -> dict[str, Any]:
    mask = entry["input_mask"].clone()
    mask[:, :hidden] = True
    return {"rgb@16": {**entry, "input_mask": mask}}


def test_dense_instances_of_several_pictures_are_those_of_each() -> None:
    schedule = steps(
        "caption",
        autoregression_schemes="autoregressive",
        cond_domains="rgb@16",
        tokens_per_target=7,
    )
    rows = [pixels(1), pixels(2)]
    both = {key: torch.cat([row[key] for row in rows]) for key in rows[0]}

    def dense(given: dict[str, Tensor], seeds: list[int]) -> dict[str, Tensor]:
        sample = empty_targets(MODEL, {"rgb@16": given}, schedule, {"caption": 7})
        words = SimpleNamespace(get_vocab=lambda: {"[S_1]": 5, "[S_2]": 6})
        arguments = (MODEL, sample, schedule, words, 3, "caption")
        return dict(generate_sam_dense(*arguments, noise=SiteNoise(seeds))["caption"])

    together = dense(both, [1, 2, 3, 4, 5, 6])
    for row, seeds in enumerate(([1, 2, 3], [4, 5, 6])):
        alone = dense(rows[row], seeds)["tensor"][0]
        used = together["tensor"][row][~together["input_mask"][row]]
        assert torch.equal(used, alone) and len(alone) > 3
