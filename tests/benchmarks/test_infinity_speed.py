"""The speed benchmark on a model of a few thousand weights: what it counts and what it compares."""

import pytest
import torch

from benchmarks.infinity_speed import (
    METHODS,
    TEXT_TOKENS,
    flops_of,
    generate,
    measure_images,
    measure_stages,
)
from benchmarks.large_models import SIZES, full_config
from benchmarks.plain_reference import plain_generate
from infinity_backend.config import PruningConfig, SamplingConfig
from infinity_backend.generate import Stepper
from infinity_backend.generator import InfinityGenerator
from infinity_backend.parts import InfinityParts
from infinity_backend.request import ImageRequest
from infinity_backend.text import TextCondition
from tests.infinity_backend.tiny import tiny_config, tiny_pipeline, tiny_stepper


@pytest.fixture(scope="module")
def stepper() -> Stepper:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tiny_stepper(
            tiny_config(
                infinity={"text_maxlen": TEXT_TOKENS},
                sampling=SamplingConfig(cfg=3.0, tau=0.5, top_k=1),
                pruning=PruningConfig(1, 2, cache_tokens=9, anchor_block=1),
            )
        )


@pytest.fixture(scope="module")
def text() -> TextCondition:
    features = torch.randn(1, TEXT_TOKENS, 128, generator=torch.Generator().manual_seed(0))
    return TextCondition(features, (TEXT_TOKENS,))


def test_the_plain_statement_draws_the_same_bits(stepper: Stepper, text: TextCondition) -> None:
    dense = [(0.0, True)] * stepper.num_stages
    assert torch.equal(generate(stepper, text, dense), plain_generate(stepper, text))


def test_flops_are_those_that_a_run_is_charged(stepper: Stepper, text: TextCondition) -> None:
    plan = [(0.0, True), (0.0, True), (0.4, True), (1.0, True), (0.5, False)]
    encoder = tiny_pipeline().text_encoder
    generator = InfinityGenerator(InfinityParts(stepper, encoder, "random"))
    state, charged = stepper.begin([ImageRequest("x")], text), []
    for ratio, guidance in plan:
        decisions = [{"prune_ratio": ratio, "guidance": guidance}]
        charged.append(float(generator.cost(state, decisions)[0]))
        state = generator.advance(state, decisions)
    assert flops_of(stepper, plan) == charged


def test_tables_hold_every_stage_method_and_ratio(stepper: Stepper, text: TextCondition) -> None:
    rows = measure_stages(stepper, text, [0.5], list(METHODS), last=2, repeats=1)
    assert [row["stage"] for row in rows] == ["4x4"] * 8 + ["6x6"] * 8
    names = {row["decision"] for row in rows}
    assert names == {"dense", "skip", *(f"{method} 0.5" for method in METHODS)}
    for row in rows:
        if row["decision"] == "skip":
            assert row["flops_saved"] == 1.0 and row["share_realised"] == row["time_saved"]
        elif row["decision"] != "dense":
            assert 0 < row["flops_saved"] < 1
    images = measure_images(stepper, text, ["skip64"], repeats=1)
    assert images["codes_that_differ"] == 0.0
    assert [row["decision"] for row in images["images"]][2:] == ["skip64"]


def test_the_2b_configuration_is_the_official_one() -> None:
    config = full_config("2b", "1M")
    assert config.pruning == PruningConfig() and config.infinity == SIZES["2b"]
    assert (config.vae.base_ch, config.vae.patch_size) == (128, 16)
    assert full_config("2b", "0.06M").pruning.cache_tokens == 64
