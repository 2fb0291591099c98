"""What a device other than the CPU meets, on a fake one: copies, waits, masks, mixed devices."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from base.decisions import SKIP
from benchmarks.fake_device import DEVICE, Watch, fake_device, fake_text
from benchmarks.infinity_memory import measure
from infinity_backend.config import PipelineConfig, PruningConfig
from infinity_backend.request import ImageRequest
from tests.infinity_backend.tiny import tiny_config

PRUNINGS = [
    PruningConfig(1, 2, cache_tokens=9),
    PruningConfig(1, 2, cache_tokens=9, restore="zero"),
    PruningConfig(1, 2, restore="no_code"),
    PruningConfig(1, 2, cache_tokens=9, selection="change"),
    PruningConfig(1, 2, cache_tokens=9, selection="hybrid", anchor_block=1),
]
DENSE, SOME, SKIPPED = ({"prune_ratio": r, "guidance": True} for r in (0.0, 0.4, SKIP))
ALONE = {"prune_ratio": 0.4, "guidance": False}


def counts_of(
    config: PipelineConfig, plan: list[list[dict]], lengths: tuple[int, ...]
) -> list[Counter[str]]:
    """Per stage, what the second run of a batch asks for; the first one fills the caches."""
    with fake_device(config) as (watch, stepper):
        for _ in range(2):
            requests = [ImageRequest(str(row), row) for row in range(len(lengths))]
            state = stepper.begin(requests, fake_text(config, lengths))
            counts = []
            for decisions in plan:
                watch.counts.clear()
                state = stepper.advance(state, decisions)
                counts.append(Counter(watch.counts))
    return counts


def test_the_watch_sees_what_waits() -> None:
    with fake_device(tiny_config()) as (watch, _):
        numbers = torch.ones(4, device=DEVICE)
        for name, act in {
            "wait": lambda: numbers.sum().item(),
            "send": lambda: torch.ones(4).to(DEVICE),
            "send_later": lambda: torch.ones(4).to(DEVICE, non_blocking=True),
            "masked": lambda: F.scaled_dot_product_attention(
                *[numbers.view(1, 1, 2, 2)] * 3, attn_mask=numbers[:2].bool()
            ),
        }.items():
            watch.counts.clear()
            act()
            assert +watch.counts == {name: 1}
        with pytest.raises(RuntimeError, match="same device"):
            numbers + torch.ones(4)


def test_memory_is_forgotten_with_its_tensors() -> None:
    with Watch() as watch:
        tensor = torch.empty(1000, device=DEVICE)
        view = tensor[:10]
        assert watch.live_bytes == watch.peak_bytes == 4000
        del tensor
        assert watch.live_bytes == 4000 and len(view) == 10
        del view
        assert watch.live_bytes == 0 and watch.peak_bytes == 4000


@pytest.mark.parametrize("pruning", PRUNINGS, ids=lambda p: f"{p.selection}-{p.restore}")
def test_one_image_waits_once_a_scale(pruning: PruningConfig) -> None:
    """And sends its noise, without waiting; attention has no mask where no text is padded."""
    config = tiny_config(pruning=pruning)
    for decision in (DENSE, SOME):
        plan = [[DENSE]] * 3 + [[decision]] * 2
        for counts in counts_of(config, plan, (5,)):
            assert +counts == {"wait": 1, "send_later": 1}


@pytest.mark.parametrize("pruning", PRUNINGS, ids=lambda p: f"{p.selection}-{p.restore}")
def test_a_batch_of_unequal_rows_waits_once_a_scale(pruning: PruningConfig) -> None:
    plan = [[DENSE] * 4] * 2
    plan += [[DENSE, SOME, ALONE, SOME], [SOME, DENSE, ALONE, SKIPPED], [SOME, SOME, ALONE, DENSE]]
    for counts in counts_of(tiny_config(pruning=pruning), plan, (5, 3, 5, 5)):
        assert counts["wait"] == 1 and counts["send"] == counts["index"] == 0
        assert counts["masked"]  # one row's text is padded


def test_leaving_out_a_mask_that_hides_nothing_changes_no_bit() -> None:
    torch.manual_seed(0)
    for dtype, width, queries in ((torch.float32, 24, 7), (torch.bfloat16, 128, 64)):
        q, k, v = (torch.randn(2, 3, n, width).to(dtype) for n in (queries, 11, 11))
        everything = torch.ones(2, 1, 1, 11, dtype=torch.bool)
        masked = F.scaled_dot_product_attention(q, k, v, attn_mask=everything, scale=0.2)
        assert torch.equal(masked, F.scaled_dot_product_attention(q, k, v, scale=0.2))


def test_announced_memory_is_what_a_generation_takes() -> None:
    counted = measure("0.06M", 0.0, "125m")
    peak = max(counted["scales_peak_bytes"], counted["decode_peak_bytes"])
    assert peak == pytest.approx(counted["announced_bytes"], rel=0.03)
    on_top = peak - counted["weights_bytes"]
    announced = counted["announced_bytes"] - counted["weights_bytes"]
    assert on_top == pytest.approx(announced, rel=0.2)  # the text's keys and values are not in it
