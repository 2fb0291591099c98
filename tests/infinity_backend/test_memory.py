"""The estimate is what a run really holds."""

import json
from pathlib import Path

import torch

from infinity_backend.architecture import InfinityConfig, VAEConfig
from infinity_backend.config import PipelineConfig, PruningConfig
from infinity_backend.memory import estimate_memory, free_bytes
from infinity_backend.schedule import official_schedule
from infinity_backend.text_encoder import TextEncoder
from tests.infinity_backend.tiny import requests, tiny_generator, tiny_text_encoder


def size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def test_the_estimate_is_what_a_run_holds() -> None:
    generator = tiny_generator(pruning=PruningConfig(1, 2, cache_tokens=9))
    stepper = generator.stepper
    state = generator.begin(requests(1))
    for _ in range(generator.max_stages - 1):  # of a row that is done, nothing of it is kept
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
    assert narrow.weights + narrow.each_image < 10e9 < 12e9 < wide.weights + wide.each_image
    with_encoder = narrow.weights + narrow.each_image + 4.9e9
    # beside the encoder nothing would be left for workspaces: it stays elsewhere, or its features
    assert 14e9 < with_encoder < 16e9
    assert 4.4e9 < narrow.weights < 5.5e9 and "GB of weights" in str(narrow)


def test_the_encoders_weights_are_counted_from_its_config(tmp_path: Path) -> None:
    encoder = tiny_text_encoder(128)
    encoder.model.config.save_pretrained(tmp_path)
    exact = sum(size(p) for p in encoder.model.parameters())
    assert 0.97 * exact < TextEncoder.estimate_bytes(tmp_path) <= exact
    xl = {"d_model": 2048, "d_ff": 5120, "num_heads": 32, "d_kv": 64, "num_layers": 24}
    settings = xl | {"vocab_size": 32128, "feed_forward_proj": "gated-gelu"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert 4.8e9 < TextEncoder.estimate_bytes(tmp_path) < 5.0e9


def test_free_memory_is_told_where_the_system_tells() -> None:
    free = free_bytes("cpu")
    assert free is None or free > 1e6
    assert free_bytes("meta") is None
