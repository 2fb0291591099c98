"""The estimate is what a run really holds."""

import torch

from infinity_backend.architecture import InfinityConfig, VAEConfig
from infinity_backend.config import PipelineConfig, PruningConfig
from infinity_backend.memory import estimate_memory
from infinity_backend.schedule import official_schedule
from tests.infinity_backend.tiny import requests, tiny_generator


def size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def test_the_estimate_is_what_a_run_holds() -> None:
    generator = tiny_generator(pruning=PruningConfig(1, 2, cache_tokens=9))
    stepper = generator.stepper
    state = generator.begin(requests(1))
    for _ in range(generator.max_stages):
        state = generator.advance(state, [{}])
    memory = estimate_memory(stepper.config)
    modules = (stepper.model, stepper.vae)
    assert memory.weights == sum(size(t) for m in modules for t in m.state_dict().values())
    row = state.rows[0]
    chunks = [ref.chunk for ref in row.history]
    assert memory.keys_values == sum(size(t) for c in chunks for t in (*c.keys, *c.values))
    assert row.restoration is not None
    updates = row.restoration.chunk.updates.values()
    assert memory.restoration == sum(size(t) for parts in updates for t in parts)


def test_2b_at_one_megapixel_fits_a_card_of_16_gb_in_bfloat16() -> None:
    schedule, rope_grid = official_schedule(1.0, "1M")
    model = InfinityConfig(depth=32, embed_dim=2048, num_heads=16, bits=32)
    config = PipelineConfig("2b", model, VAEConfig(32), schedule, rope_grid)
    narrow, wide = estimate_memory(config, torch.bfloat16), estimate_memory(config)
    assert narrow.weights + narrow.each_image < 12e9 < wide.weights + wide.each_image
    assert 4.4e9 < narrow.weights < 5.5e9 and "GB of weights" in str(narrow)
