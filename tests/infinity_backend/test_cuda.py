"""On a GPU, where there is one. None was at hand when this was written: not yet run."""

from pathlib import Path

import pytest
import torch

from base.decisions import SKIP
from commands import calibrate
from infinity_backend.generator import InfinityGenerator
from infinity_backend.sampling import keyed_uniform
from tests.infinity_backend.tiny import requests, tiny_pipeline

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def generators(folder: Path, dtype: torch.dtype) -> list[InfinityGenerator]:
    """The same weights on the CPU and on the GPU."""
    tiny_pipeline().save_pretrained(folder)
    return [
        InfinityGenerator.from_pretrained(folder, device=device, dtype=dtype)
        for device in ("cpu", "cuda")
    ]


@pytest.mark.parametrize("text_encoder_device", ["cpu", "cuda"])
def test_dense_generation_in_bfloat16(tmp_path: Path, text_encoder_device: str) -> None:
    tiny_pipeline().save_pretrained(tmp_path)
    generator = InfinityGenerator.from_pretrained(
        tmp_path, device="cuda", dtype=torch.bfloat16, text_encoder_device=text_encoder_device
    )
    state = generator.begin(requests(4))
    for _ in range(generator.max_stages):
        state = generator.advance(state, [{}] * 4)
    assert generator.finish(state).shape == (4, 24, 24, 3)
    assert generator.features(state).shape[0] == 4


def test_pruned_rows_of_a_batch_are_those_of_the_cpu(tmp_path: Path) -> None:
    """With bits forced, in float32."""
    here, there = generators(tmp_path, torch.float32)
    plan = [[0.0] * 4, [0.0, 0.4, 0.4, 0.0], [0.4, 0.0, 0.7, SKIP], [0.4] * 4, [0.0, 0.4, SKIP, 0]]
    states = [generator.begin(requests(4)) for generator in (here, there)]
    forcing = torch.Generator().manual_seed(0)
    for stage, ratios in enumerate(plan):
        decisions = [{"prune_ratio": ratio, "guidance": True} for ratio in ratios]
        bits = torch.randint(0, 2, (4, *here.stepper.tokenizer_grid(stage), 8), generator=forcing)
        states = [
            generator.stepper.advance(state, decisions, bits.to(generator.stepper.device))
            for generator, state in zip((here, there), states, strict=True)
        ]
    torch.testing.assert_close(states[0].codes, states[1].codes.cpu())
    for one, other in zip(states[0].rows, states[1].rows, strict=True):
        assert one.entropy_bits == pytest.approx(other.entropy_bits, abs=1e-3)


def test_noise_is_the_same_on_every_device() -> None:
    there = keyed_uniform([3, 4], stage=2, count=1000).to("cuda", non_blocking=True)
    assert torch.equal(there.cpu(), keyed_uniform([3, 4], stage=2, count=1000))


def test_calibrate_on_cuda(tmp_path: Path) -> None:
    table = tmp_path / "latency.json"
    options = ["--generator", "scenes", "--device", "cuda", "--batch-size", "2", "--repeats", "2"]
    assert calibrate.main([*options, "--out", str(table)]) == 0
    assert torch.cuda.get_device_name() in table.read_text()
