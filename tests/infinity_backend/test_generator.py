"""Infinity behind the protocol: independence of rows, cheap forks, costs, noise, settings."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from base.decisions import SKIP
from base.errors import ConfigError, GenerationError
from infinity_backend import stage as stage_module
from infinity_backend import token_choice
from infinity_backend.config import PruningConfig, SamplingConfig
from infinity_backend.generator import InfinityGenerator
from tests.envs.protocol_checks import check_generator
from tests.infinity_backend.tiny import requests, tiny_generator

VARIANTS: dict[str, dict[str, object]] = {
    "cached": {},
    "zero": {"restore": "zero"},
    "no_code": {"restore": "no_code"},
    "entropy": {"selection": "entropy", "anchor_block": 2, "self_attention_share": 0.0},
    "hybrid": {"selection": "hybrid", "anchor_block": 1, "self_attention_share": 0.75},
    "change": {"selection": "change"},
    "change no_code": {"selection": "change", "restore": "no_code"},
}
RESTORES = ("cached", "zero", "no_code")
RATIOS = (0.0, 0.4, 0.7, SKIP)


def pruning(variant: str) -> PruningConfig:
    return PruningConfig(1, 2, cache_tokens=9, **VARIANTS[variant])  # type: ignore[arg-type]


def decide(ratio: float, guidance: bool = True) -> dict[str, object]:
    return {"prune_ratio": ratio, "guidance": guidance}


def mixed_decisions(rows: int, stages: int, seed: int = 0) -> list[list[dict[str, object]]]:
    """Decisions [stage][row]: every row prunes, skips and drops guidance at its own time."""
    stream = np.random.default_rng(seed)
    drops = stream.integers(2, stages + 2, rows)
    return [
        [
            decide(RATIOS[stream.integers(4)] if stage else 0.0, bool(stage < drops[row]))
            for row in range(rows)
        ]
        for stage in range(stages)
    ]


@pytest.mark.parametrize("restore", [*RESTORES, "hybrid"])
def test_protocol(restore: str) -> None:
    check_generator(tiny_generator(pruning=pruning(restore)), requests(4), tolerance=1.0)


@pytest.mark.parametrize("restore", VARIANTS)
def test_rows_do_not_depend_on_their_neighbours(restore: str) -> None:
    """With bits forced, the logits of a batch of unequal rows are those of each row alone."""
    generator = tiny_generator(pruning=pruning(restore))
    stepper, rows = generator.stepper, requests(6)
    plan = mixed_decisions(6, generator.max_stages)
    together = generator.begin(rows)
    alone = [generator.begin([request]) for request in rows]
    forcing = torch.Generator().manual_seed(0)
    for stage in range(generator.max_stages):
        grid = stepper.tokenizer_grid(stage)
        bits = torch.randint(0, 2, (6, *grid, 8), generator=forcing)
        before = [row.entropy_bits for row in together.rows]
        together = stepper.advance(together, plan[stage], bits)
        for index in range(6):
            alone[index] = stepper.advance(alone[index], [plan[stage][index]], bits[index][None])
            one, other = together.rows[index], alone[index].rows[0]
            assert one.entropy_bits == pytest.approx(other.entropy_bits, abs=1e-5)
            assert torch.equal(together.codes[index], alone[index].codes[0])
            for mine, theirs in zip(one.history, other.history, strict=True):
                for keys, values in zip(mine.chunk.keys, theirs.chunk.keys, strict=True):
                    mine_row, their_row = keys[:, mine.index], values[:, theirs.index]
                    torch.testing.assert_close(mine_row, their_row, atol=1e-4, rtol=1e-4)
        if any(decision["prune_ratio"] != SKIP for decision in plan[stage]):
            assert before != [row.entropy_bits for row in together.rows]


@pytest.mark.parametrize("restore", VARIANTS)
def test_costs_equal_the_flop_counter(restore: str) -> None:
    generator = tiny_generator(pruning=pruning(restore))
    request = requests(2)[1]
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            state = generator.begin([request])
        counted = counter.get_total_flops()
        for ratio, guidance in product((0.0, 0.4, SKIP), (True, False)):
            now = state
            for stage in range(generator.max_stages):
                decision = decide(ratio if stage else 0.0, guidance or stage < 3)
                expected = generator.cost(now, [decision])[0]
                with FlopCounterMode(display=False) as counter:
                    now = generator.advance(now, [decision])
                assert counter.get_total_flops() == expected, (ratio, guidance, stage)
        with FlopCounterMode(display=False) as counter:
            generator.finish(now)
        counted += counter.get_total_flops()
    assert generator.fixed_cost(request) == counted


@pytest.mark.parametrize("restore", ["cached", "zero"])
def test_setting_tokens_aside_once_changes_nothing(
    restore: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A choice that holds for the whole stage: gathered once, or in every sub-layer."""
    settings = PruningConfig(1, 2, cache_tokens=9, restore=restore, selection="change")  # type: ignore[arg-type]
    plan = mixed_decisions(4, 5, seed=1)
    codes, entropies = [], []
    used: list[bool] = []
    for fast in (True, False):

        def leave_once(*about_the_stage: Any, fast: bool = fast) -> bool:
            used.append(token_choice.leave_once(*about_the_stage))
            return used[-1] and fast

        monkeypatch.setattr(stage_module, "leave_once", leave_once)
        generator = tiny_generator(pruning=settings)
        state = generator.begin(requests(4))
        for decisions in plan:
            state = generator.advance(state, decisions)
        codes.append(state.codes)
        entropies.append([row.entropy_bits for row in state.rows])
    assert any(used)
    torch.testing.assert_close(codes[0], codes[1])
    assert entropies[0] == pytest.approx(entropies[1], abs=1e-5)


def test_noise_belongs_to_its_site() -> None:
    """Skipping one stage leaves the noise of all others: forced inputs give the same bits."""
    stepper = tiny_generator().stepper
    request = requests(1)
    text = tiny_generator().pipeline.text_encoder([request[0].prompt])
    first = stepper.begin(request, text)
    dense = stepper.advance(first, [decide(0.0)])
    skipped = stepper.advance(dense, [decide(SKIP)])
    zeros = torch.zeros(1, 2, 2, 8)
    forced = stepper.advance(dense, [decide(0.0)], zeros)
    assert skipped.rows[0].signs[1] is None and forced.rows[0].signs[1] is not None
    again = stepper.advance(dense, [decide(0.0)])
    assert torch.equal(again.codes, stepper.advance(dense, [decide(0.0)]).codes)


def test_negative_prompts_belong_to_their_row() -> None:
    """Beside rows without one, of any length; they are paid for, and need a guidance branch."""
    generator = tiny_generator()
    negative = ("blue", None, "")
    mixed = [
        replace(request, negative_prompt=text)
        for request, text in zip(requests(3), negative, strict=True)
    ]
    together = generator.begin(mixed)
    alone = [generator.begin([request]) for request in mixed]
    for _ in range(generator.max_stages):
        decision = decide(0.4 if together.stage[0] else 0.0)
        costs = generator.cost(together, [decision] * 3)
        assert costs[0] == generator.cost(alone[0], [decision])[0]
        together = generator.advance(together, [decision] * 3)
        alone = [generator.advance(one, [decision]) for one in alone]
    for row, one in enumerate(alone):
        torch.testing.assert_close(together.codes[row], one.codes[0])
    first, without = mixed[0], replace(mixed[0], negative_prompt=None)
    assert first.key != without.key
    assert generator.fixed_cost(first) != generator.fixed_cost(without)
    short, long = (generator.stages(r)[0].cost_flops for r in (first, without))
    assert short < long  # "blue" is shorter than the prompt
    with pytest.raises(ConfigError, match="runs without guidance"):
        tiny_generator(sampling=SamplingConfig(cfg=1.0)).begin(mixed)


def test_forks_share_what_did_not_change() -> None:
    """The leaves of a tree of decisions hold their prefixes once."""
    generator = tiny_generator()
    state = generator.begin(requests(1))
    for _ in range(2):
        state = generator.advance(state, [decide(0.0)])
    leaves = generator.fork(state, [0] * 32)
    shared = {id(ref.chunk) for row in leaves.rows for ref in row.history}
    assert len(shared) == 2 and {id(row.text.chunk) for row in leaves.rows} == {
        id(state.rows[0].text.chunk)
    }
    after = generator.advance(leaves, [decide(0.0)] * 32)
    assert torch.equal(after.codes[0], after.codes[31])


def test_forbidden_decisions_are_refused() -> None:
    generator = tiny_generator()
    state = generator.begin(requests(1))
    with pytest.raises(GenerationError, match="first stage cannot be skipped"):
        generator.advance(state, [decide(SKIP)])
    state = generator.advance(state, [decide(0.0, guidance=False)])
    assert not generator.allowed(state, [decide(0.0)])[0, 0]
    with pytest.raises(GenerationError, match="stays dropped"):
        generator.advance(state, [decide(0.0)])
    with pytest.raises(ConfigError, match="prune_ratio is nan"):
        generator.advance(state, [decide(float("nan"))])


def test_damaged_weights_are_named() -> None:
    generator = tiny_generator()
    generator.stepper.model.head.bias.data[0] = float("nan")
    with pytest.raises(GenerationError, match=r"stage 0.*a red circle"):
        generator.advance(generator.begin(requests(1)), [decide(0.0)])


def test_rows_at_different_stages_go_on_together() -> None:
    generator = tiny_generator()
    ahead, fresh = generator.begin(requests(2)[:1]), generator.begin(requests(2)[1:])
    ahead = generator.advance(ahead, [decide(0.0)])
    both = generator.advance(generator.join([ahead, fresh]), [decide(0.4), decide(0.0)])
    assert both.stage.tolist() == [2, 1]
    apart = generator.advance(ahead, [decide(0.4)])
    torch.testing.assert_close(both.codes[:1], apart.codes)


def test_fingerprint_follows_the_settings() -> None:
    one = tiny_generator()
    prints = {
        one.fingerprint,
        tiny_generator(pruning=pruning("zero")).fingerprint,
        tiny_generator(sampling=SamplingConfig(cfg=3.0)).fingerprint,
        tiny_generator(seed=1).fingerprint,
    }
    assert len(prints) == 4 and tiny_generator().fingerprint == one.fingerprint


def test_guidance_of_one_runs_one_branch() -> None:
    generator: InfinityGenerator = tiny_generator(sampling=SamplingConfig(cfg=1.0))
    state = generator.advance(generator.begin(requests(2)), [decide(0.0)] * 2)
    assert all(row.branches == 1 for row in state.rows)
    assert generator.stages(requests(1)[0])[0].cost_flops < (
        tiny_generator().stages(requests(1)[0])[0].cost_flops
    )
