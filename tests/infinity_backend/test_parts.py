"""Schedules, noise, packing and pruning by themselves."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ConfigError
from infinity_backend.architecture import VAEConfig
from infinity_backend.config import PruningConfig, SamplingConfig
from infinity_backend.packing import Packing
from infinity_backend.pruning import gather, resize_tokens, scatter
from infinity_backend.rope import rope_table
from infinity_backend.sampling import bit_probability, draw_sequential, keyed_uniform
from infinity_backend.schedule import nearest_template, official_schedule
from infinity_backend.selection import Evidence, by_distance
from tests.infinity_backend.tiny import tiny_config


def test_official_schedules() -> None:
    grids, last = official_schedule(1.0, "1M")
    assert [width for _, width in grids] == [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64]
    assert last == (64, 64)
    shorter, same_last = official_schedule("0.571", "0.25M")
    assert len(shorter) == 10 and same_last == official_schedule(0.571, "1M")[1]
    assert nearest_template(1.0) == "1.0" and nearest_template(1.8) == "1.75"
    with pytest.raises(ConfigError, match="no template"):
        official_schedule(1.1, "1M")
    with pytest.raises(ConfigError, match="no resolution"):
        official_schedule(1.0, "2M")


def test_noise_is_keyed_by_seed_and_stage_alone() -> None:
    both = keyed_uniform([1, 2], 3, 100)
    assert torch.equal(both[1], keyed_uniform([2], 3, 100)[0])
    assert torch.equal(both[1][:50], keyed_uniform([2], 3, 50)[0])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both[0], keyed_uniform([1], 4, 100)[0])
    assert both.min() >= 0 and both.max() < 1


@given(st.integers(-40, 40), st.integers(0, 10), st.sampled_from([0, 1, 2, 900]))
def test_bit_probability_is_the_filtered_softmax(halves: int, tenths: int, top_k: int) -> None:
    margin, top_p = halves / 2, tenths / 10
    logits = torch.tensor([[0.0, margin]])
    got = float(bit_probability(logits, SamplingConfig(top_k=top_k, top_p=top_p)))
    p = torch.softmax(logits, -1)[0].double()
    if top_k == 1:
        expected = 0.5 if margin == 0 else float(margin > 0)
    elif top_p > 0 and margin != 0 and float(p.min()) <= 1 - top_p:
        expected = float(margin > 0)
    else:
        expected = float(p[1])
    assert got == pytest.approx(expected, abs=1e-5)


def test_sequential_draws_are_the_librarys_multinomial() -> None:
    p = torch.rand(50, generator=torch.Generator().manual_seed(0))
    one, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    pairs = torch.stack([1 - p, p], dim=1)
    expected = torch.multinomial(pairs, 1, generator=one)[:, 0].bool()
    assert torch.equal(draw_sequential(p, other), expected)
    assert torch.equal(one.get_state(), other.get_state())


def test_kept_tokens_of_both_roundings() -> None:
    assert PruningConfig(keep_rounding="floor_kept").kept_tokens(1024, 0.4) == 614
    assert PruningConfig(keep_rounding="floor_pruned").kept_tokens(1024, 0.4) == 615
    assert PruningConfig().kept_tokens(4, 0.99) == 1


def test_packing_is_undone() -> None:
    parts = [torch.rand(2, 3, 4), torch.rand(1, 5, 4)]
    packing = Packing(((2, 3), (1, 5)))
    packed = packing.pack(parts)
    assert packed.shape == (1, 11, 4)
    for part, back in zip(parts, packing.unpack(packed), strict=True):
        assert torch.equal(part, back)
    rows = [torch.arange(2.0)[:, None], torch.tensor([[9.0]])]
    assert packing.spread(rows)[0, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 9, 9, 9, 9, 9]


def test_selection_keeps_what_differs_most() -> None:
    x = torch.zeros(1, 4, 2)
    x[0, 2], x[0, 1] = 5.0, -3.0
    indices = by_distance(Evidence(x), 2)
    assert indices.tolist() == [[2, 1]]
    kept = gather(x, indices)
    assert torch.equal(scatter(torch.zeros_like(x), indices, kept), x)
    spread = resize_tokens(torch.arange(4.0).view(1, 4, 1), (2, 2), (4, 4))
    assert spread[0, :, 0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]


def test_tokens_that_are_alike_but_for_rounding_are_taken_in_order() -> None:
    """What a batch of another size rounds otherwise must not change which tokens stay."""
    stream = torch.randn(1, 1, 64).repeat(1, 9, 1)
    stream[0, 4] += 0.5  # one token truly differs, the others are the same
    for seed in range(20):
        rounding = 1e-7 * torch.randn(9, 64, generator=torch.Generator().manual_seed(seed))
        kept = by_distance(Evidence(stream * (1 + rounding), settle_ties=True), 4)
        assert sorted(kept[0].tolist()) == [0, 1, 2, 4]
    flat = by_distance(Evidence(torch.zeros(1, 9, 64), settle_ties=True), 4)
    assert flat[0].tolist() == [0, 1, 2, 3]  # a stream of zeros has no size


def test_rope_of_a_single_cell_turns_nothing() -> None:
    for mode in (0, 1, 2):
        table = rope_table((1, 1), (64, 64), 16, mode)
        assert torch.allclose(table, torch.ones_like(table))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="cfg has 2 entries; the schedule has 3"):
        SamplingConfig(cfg=(1.0, 2.0)).per_stage("cfg", 3)
    for settings, message in (
        ({"tau": 0.0}, r"tau is 0\.0; expected numbers above 0"),
        ({"cfg": (3.0, float("nan"))}, "cfg is .*nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 1.5}, r"top_p is 1\.5"),
    ):
        with pytest.raises(ConfigError, match=message):
            SamplingConfig(**settings)  # type: ignore[arg-type]
    for layer in (2, -4):
        with pytest.raises(ConfigError, match=rf"cfg_insertion_layer has \[{layer}\]"):
            tiny_config(sampling=SamplingConfig(cfg_insertion_layer=(0, 1, layer)))
    with pytest.raises(ConfigError, match=r"anchor_block 7 is to measure .* blocks 0 to 3"):
        tiny_config(pruning=PruningConfig(selection="entropy"))
    with pytest.raises(ConfigError, match="restore is 'magic'"):
        PruningConfig(restore="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="patch_size 12"):
        VAEConfig(codebook_dim=8, patch_size=12)
