"""The fast path against the plain one, on what no recorded case covers and at random."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from infinity_backend.architecture import VAEConfig
from infinity_backend.config import PipelineConfig, PruningConfig, SamplingConfig
from infinity_backend.schedule import official_schedule, template_names
from infinity_backend.text import TextCondition
from tests.infinity_backend.plain import Plain
from tests.infinity_backend.tiny import requests, tiny_config, tiny_stepper

Decisions = list[list[tuple[float, bool]]]  # per stage, per image: ratio and guidance


def compare(
    config: PipelineConfig,
    lengths: list[int],
    plan: Decisions,
    negative: list[int] | None = None,
    leak: int = 0,
    seed: int = 0,
) -> int:
    """Run both paths and compare logits, bits and codes stage by stage.

    Where a bit or a kept token that could fall either way within rounding falls the other way, the
    comparison ends.

    Args:
        config: of a small model; draws come from one sequential stream.
        lengths: of the prompts, one an image.
        plan: the decisions.
        negative: lengths of negative prompts, if there are any.
        leak: bits of so many stages are given.
        seed: of weights, texts and draws.

    Returns:
        How many stages were compared.
    """
    config = replace(config, sampling=replace(config.sampling, noise="sequential"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stepper = tiny_stepper(config)
        prompts = [torch.randn(count, config.infinity.text_channels) for count in lengths]
        others = [torch.randn(count, config.infinity.text_channels) for count in negative or []]
        texts = [
            TextCondition.from_compact(torch.cat(rows), [len(row) for row in rows])
            for rows in (prompts, others)
            if rows
        ]
        given_bits = [
            torch.randint(
                0, 2, (len(lengths), *stepper.tokenizer_grid(stage), config.vae.codebook_dim)
            )
            for stage in range(leak)
        ]
    state = stepper.begin(requests(len(lengths)), *texts, stream_seed=seed)
    plain = Plain(stepper.model.state_dict(), config, prompts, others or None, seed)
    settled = config.pruning.restore == "no_code"  # there nearly equal tokens count as equal
    for stage, decisions in enumerate(plan):
        forced = given_bits[stage] if stage < leak else None
        logits: list[Tensor] = []

        def observe(name: str, value: Tensor, logits: list[Tensor] = logits) -> None:
            logits.extend(value if name == "logits" else [])

        asked = [{"prune_ratio": ratio, "guidance": on} for ratio, on in decisions]
        state = stepper.advance(state, asked, forced, observe)
        expected = plain.stage(stage, *zip(*decisions, strict=True), forced)
        if expected is None:
            continue
        error = max(
            min(float((one - image).abs().max()) for one in logits if one.shape == image.shape)
            for image in expected.logits
        )
        if error >= 2e-3 and expected.gap < (0.02 if settled else 1e-4):
            return stage
        assert error < 2e-3, stage
        same = True
        for row, signs in zip(state.rows, expected.signs, strict=True):
            drawn = row.signs[stage]
            assert (drawn is None) == (signs is None)
            same = same and (drawn is None or torch.equal(drawn.long(), signs))
        if not same and expected.margin < 2e-3:
            return stage
        assert same, stage
        torch.testing.assert_close(state.codes, expected.codes, atol=1e-5, rtol=0)
    return len(plan)


@st.composite
def transformers(draw: st.DrawFn) -> dict[str, Any]:
    """Every switch of the transformer."""
    return {
        "block_chunks": draw(st.sampled_from([1, 2, 4])),
        "shared_aln": draw(st.booleans()),
        "head_aln": draw(st.booleans()),
        "head_depth": draw(st.sampled_from([1, 2])),
        "cos_attn": draw(st.booleans()),
        "rms_norm": draw(st.booleans()),
        "nm0": draw(st.booleans()),
        "swiglu": draw(st.booleans()),
        "rand_uncond": draw(st.booleans()),
        "cross_attn_layer_scale": draw(st.sampled_from([-1.0, 0.7])),
        "add_lvl_embeding_only_first_block": draw(st.booleans()),
        "rope2d_normalized_by_hw": draw(st.sampled_from([0, 1, 2])),
        "apply_spatial_patchify": draw(st.booleans()),
    }


@st.composite
def prunings(draw: st.DrawFn, tokens: list[int]) -> PruningConfig:
    """Every way to prune, with the cache at any stage."""
    first = draw(st.integers(1, 3))
    restore = draw(st.sampled_from(["cached", "cached", "zero", "no_code"]))
    selections = ["fastvar", "change"] if restore == "no_code" else None
    return PruningConfig(
        first_block=first,
        last_block=draw(st.integers(first, 4)),
        cache_tokens=draw(st.sampled_from(tokens)),
        restore=restore,
        keep_rounding=draw(st.sampled_from(["floor_kept", "floor_pruned"])),
        selection=draw(st.sampled_from(selections or ["fastvar", "entropy", "hybrid", "change"])),
        anchor_block=draw(st.integers(0, 3)),
        self_attention_share=1.0
        if restore == "no_code"
        else draw(st.sampled_from([1.0, 0.75, 0.0])),
    )


def per_stage(values: list[float], stages: int) -> st.SearchStrategy[Any]:
    """One number, or one a stage."""
    one = st.sampled_from(values)
    return one | st.lists(one, min_size=stages, max_size=stages).map(tuple)


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """A model, a schedule, settings, prompts and decisions."""
    template = draw(st.sampled_from(template_names()))
    stages = draw(st.integers(3, 5))
    schedule, rope_grid = official_schedule(template, "1M")
    schedule = schedule[:stages]
    transformer = draw(transformers())
    patchify = transformer["apply_spatial_patchify"]
    layers = draw(st.lists(st.sampled_from([0, -1, -2, -3]), min_size=1, max_size=3, unique=True))
    config = tiny_config(
        infinity={**transformer, "bits": 8},
        vae=VAEConfig(2 if patchify else 8, base_ch=32, ch_mult=(1, 1), patch_size=4, stem_patch=2),
        schedule=schedule,
        sampling=SamplingConfig(
            cfg=draw(per_stage([1.0, 2.5, 4.0], stages)),
            tau=draw(per_stage([0.5, 1.0, 1.3], stages)),
            top_k=draw(st.sampled_from([0, 1, 2, 900])),
            top_p=draw(st.sampled_from([0.0, 0.8, 0.97])),
            cfg_insertion_layer=tuple(layers),
        ),
        pruning=draw(prunings([height * width for height, width in schedule[1:]])),
    )
    images = draw(st.integers(1, 3))
    ratio = st.sampled_from([0.0, 0.0, 0.3, 0.5, 0.9, 1.0])
    dropped = [draw(st.integers(1, stages + 1)) for _ in range(images)]  # guidance, from where on
    plan = [
        [(draw(ratio) if stage else 0.0, stage < dropped[image]) for image in range(images)]
        for stage in range(stages)
    ]
    counts = st.lists(st.integers(1, 12), min_size=images, max_size=images)
    return {
        "config": replace(config, rope_grid=rope_grid),
        "lengths": draw(counts),
        "plan": plan,
        "negative": draw(st.none() | counts),
        "leak": draw(st.integers(0, 2)),
        "seed": draw(st.integers(0, 10_000)),
    }


@given(runs())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_model_and_any_decisions(run: dict[str, Any]) -> None:
    compare(**run)


DENSE = [[(0.0, True)] * 2] * 5
UNEVEN = [
    [(0.0, True), (0.0, True), (0.0, True)],
    [(0.0, True), (1.0, True), (0.0, True)],
    [(0.0, True), (0.5, True), (0.3, False)],
    [(0.4, True), (0.0, False), (1.0, False)],
    [(0.5, True), (0.5, False), (0.7, False)],
]
DRAWN = SamplingConfig(cfg=(3.0, 1.0, 2.0, 4.0, 3.0), tau=0.8, top_k=0, top_p=0.9)
WIDE, WIDE_ROPE = official_schedule("0.571", "1M")
CASES: dict[str, dict[str, Any]] = {
    "sampled, several images": {"sampling": DRAWN},
    "patchify": {"sampling": DRAWN, "infinity": {"apply_spatial_patchify": True}},
    "guidance of 1 at a scale that mixes in between": {
        "sampling": replace(DRAWN, cfg_insertion_layer=(0, -2))
    },
    "mixed in between only": {"sampling": replace(DRAWN, cfg_insertion_layer=(-1, -3))},
    "resized RoPE off the square": {"infinity": {"rope2d_normalized_by_hw": 1}},
    "SwiGLU": {"infinity": {"swiglu": True}},
    "deep head without modulation": {"infinity": {"head_depth": 2, "head_aln": False}},
    "deep head with modulation": {"infinity": {"head_depth": 2}},
    "RMS norms and normalised codes": {"infinity": {"rms_norm": True, "nm0": True}},
    "blocks stored flat": {"infinity": {"block_chunks": 1}},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["dense", "given bits", "pruned", "negative prompts"])
def test_what_no_recorded_case_covers(name: str, kind: str) -> None:
    changes = {part: value for part, value in CASES[name].items() if part != "infinity"}
    transformer = {"bits": 8} | CASES[name].get("infinity", {})
    bits = 2 if transformer.get("apply_spatial_patchify") else 8
    vae = VAEConfig(bits, base_ch=32, ch_mult=(1, 1), patch_size=4, stem_patch=2)
    config = tiny_config(infinity=transformer, vae=vae, schedule=WIDE[:5], **changes)
    config = replace(config, rope_grid=WIDE_ROPE, pruning=PruningConfig(1, 2, cache_tokens=9))
    uneven = kind == "pruned"
    negative = [4, 7] if kind == "negative prompts" else None
    run = {"lengths": [3, 8, 5], "plan": UNEVEN} if uneven else {"lengths": [3, 8], "plan": DENSE}
    stages = compare(config, **run, negative=negative, leak=3 if kind == "given bits" else 0)
    assert stages >= 3


@pytest.mark.parametrize("side", [40, 48])
def test_pruning_where_the_official_scales_are_large(side: int) -> None:
    """Restoration from 24x24 as in the official models; the last scale after a skipped one."""
    schedule = ((1, 1), (8, 8), (24, 24), (32, 32), (side, side))
    config = tiny_config(
        infinity={"depth": 3, "block_chunks": 3},
        schedule=schedule,
        sampling=SamplingConfig(cfg=3.0, tau=0.5, top_k=1),
        pruning=PruningConfig(1, 1),
    )
    plan = [[(ratio, True)] for ratio in (0.0, 0.0, 0.4, 1.0, 0.5)]
    assert compare(replace(config, rope_grid=(64, 64)), [4], plan, leak=5) == 5
