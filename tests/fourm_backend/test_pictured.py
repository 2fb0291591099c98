"""Chains whose outputs can be seen: pictures, figures, costs, a folder that holds tokenizers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from base.files import write_json
from envs.decision_table import load_table, save_table
from envs.final_fidelity import final_fidelity
from envs.pruning_env import PruningEnv
from envs.references import ReferenceCache
from envs.replay import full_decisions, replay
from envs.sb3_vec_env import PruningVecEnv
from envs.tabulate import tabulate
from envs.tabulated import TableGenerator
from fourm_backend.cost import rebuild_flops
from fourm_backend.modalities import Modality
from fourm_backend.pictured import PictureGenerator
from fourm_backend.pipeline import load_generator
from fourm_backend.tokenizer import TokenizerSettings, VQTokenizer
from fourm_backend.toy import random_model

CAPTION = Modality("caption", "seq", "sequence", 12, max_length=6, max_tokens=6)
EDGES = Modality("tok_sam_edge@16", "img", "image_tokens", 9, (16, 16), 8)
RGB = Modality("tok_rgb@16", "img", "image_tokens", 11, (16, 16), 4)
TASK = {
    "cond_domains": "caption",
    "target_domains": "tok_sam_edge@16-tok_rgb@16",
    "autoregression_schemes": "roar",
    "decoding_steps": "2-3",
    "temp_schedules": "constant",
    "cfg_scales": 2.0,
}


def tokenizer(modality: Modality, channels: int) -> VQTokenizer:
    torch.manual_seed(1)
    assert modality.patch_size is not None
    grid = (modality.grid[0], modality.grid[1])
    settings = TokenizerSettings(
        channels, grid, (modality.patch_size,) * 2, 64, 1, None, modality.vocab_size, 4
    )
    made = VQTokenizer(settings)
    made.codes.copy_(torch.nn.functional.normalize(torch.randn_like(made.codes), dim=1))
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    model = random_model(CAPTION, EDGES, RGB)
    write_json(path / "config.json", model.config.to_file())
    weights = {name: value.clone().half() for name, value in model.state_dict().items()}
    save_file(weights, path / "model.safetensors")
    for modality, channels in ((EDGES, 1), (RGB, 3)):
        made = tokenizer(modality, channels)
        save_file(made.state_dict(), path / f"{modality.name}.safetensors")
    (path / "task.yaml").write_text(yaml.safe_dump(TASK))
    from scenes.captions import caption_tokenizer

    words = caption_tokenizer()
    words.save(str(path / "text_tokenizer.json"))
    return path


@pytest.fixture(scope="module")
def generator(folder: Path) -> PictureGenerator:
    loaded = load_generator(folder)
    assert isinstance(loaded, PictureGenerator)
    return loaded


def test_weights_in_half_precision_are_computed_in_float32(generator: PictureGenerator) -> None:
    assert generator.model.mask_token.dtype == torch.float32


def test_pictures_are_those_of_the_last_target_and_grey_where_unmade(
    generator: PictureGenerator,
) -> None:
    requests = [generator.request("a a", seed) for seed in range(3)]
    state, _ = replay(generator, requests, [full_decisions(generator, 5)] * 3)
    outputs = generator.finish(state)
    pictures = generator.pictures(outputs)
    assert pictures.shape == (3, 16, 16, 3) and pictures.dtype == np.uint8
    tokens = torch.from_numpy(outputs[1][4:])[None]
    values = generator.tokenizers[RGB.name].decode(tokens)[0]
    expected = ((values.clamp(-1, 1) + 1) * 127.5).round().movedim(0, -1).byte().numpy()
    np.testing.assert_array_equal(pictures[1], expected)
    edges = generator.pictures_of_target(EDGES.name, outputs)
    assert (edges[..., 0] == edges[..., 1]).all() and edges.std() > 0
    begun = generator.pictures(generator.preview(generator.begin(requests)))
    assert (begun == 128).all()


def test_figures_of_pictures_come_first(generator: PictureGenerator) -> None:
    requests = [generator.request("a a", seed) for seed in range(2)]
    state, _ = replay(generator, requests, [full_decisions(generator, 5)] * 2)
    outputs = generator.finish(state)
    same = final_fidelity(generator, outputs, outputs)
    assert list(same) == ["ssim", "psnr", "agreement", "cosine"]
    assert same["ssim"] == pytest.approx(1.0) and same["cosine"] == pytest.approx(1.0)
    swapped = final_fidelity(generator, outputs, outputs[::-1])
    assert (swapped["agreement"] < 1).all() and (swapped["cosine"] < 1).all()


def test_the_decoding_is_charged(generator: PictureGenerator) -> None:
    vq = generator.tokenizers[RGB.name]
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        vq.decode(torch.zeros(1, 16, dtype=torch.int64))
    assert rebuild_flops(vq.settings) == counter.get_total_flops()
    assert generator.fixed_cost(generator.request("a")) == counter.get_total_flops()


def test_the_environment_gives_the_picture(generator: PictureGenerator) -> None:
    requests = [generator.request("a a", 0)]
    env = PruningEnv(generator, requests, keep_images=True, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (16, 16, 3)
    done = False
    while not done:
        _, _, done, _, info = env.step(0)
    assert info["image"].shape == (16, 16, 3) and info["ssim"] == pytest.approx(1.0)


def test_a_table_holds_what_each_step_allows(generator: PictureGenerator, tmp_path: Path) -> None:
    requests = [generator.request("a a", seed) for seed in range(3)]
    menu = [{"prune_ratio": 0.0}, {"prune_ratio": 1.0}, {"encoder": "incremental"}]
    table = tabulate(generator, requests, ReferenceCache(), 2, batch_size=2, menu=menu)
    assert table.open_choices == ((0, 1, 2), (0, 2))  # the last step cannot be skipped
    assert table.costs.shape == (3, 1 + 3 + 6) and table.figures["ssim"].shape == (3, 6)
    for leaf in range(6):
        state, costs = replay(generator, requests, [table.decisions(leaf)] * 3)
        outputs = generator.finish(state)
        expected = final_fidelity(generator, outputs, ReferenceCache().get(generator, requests))
        for name, values in expected.items():
            np.testing.assert_allclose(table.figures[name][:, leaf], values, atol=1e-5)
        spent = np.sum(costs, axis=1) + table.fixed_costs
        np.testing.assert_allclose(table.compute()[:, leaf] * table.full_costs, spent)
        np.testing.assert_allclose(
            table.features[:, table.first_leaf + leaf], generator.features(state), atol=1e-5
        )
    read = load_table(save_table(tmp_path / "table.npz", table))
    assert read.open_choices == table.open_choices
    live = PruningVecEnv(generator, requests, 3, first_controlled_stage=3, menu=menu)
    looked_up = PruningVecEnv(TableGenerator(read), read.requests, 3, first_controlled_stage=3)
    for env in (live, looked_up):
        env.seed(7)
    np.testing.assert_allclose(live.reset(), looked_up.reset(), atol=1e-5)
    random = np.random.default_rng(0)
    for _ in range(8):
        assert live.core.action_masks().tolist() == looked_up.core.action_masks().tolist()
        actions = random.integers(0, 3, 3)
        expected, found = live.step(actions), looked_up.step(actions)
        np.testing.assert_allclose(expected[0], found[0], atol=1e-5)
        np.testing.assert_allclose(expected[1], found[1], atol=1e-5)


def test_the_tokenizer_is_part_of_the_fingerprint(generator: PictureGenerator) -> None:
    changed = tokenizer(RGB, 3)
    changed.codes.neg_()
    tokenizers = {**generator.tokenizers, RGB.name: changed}
    other = PictureGenerator(generator.model, generator.task, tokenizers)
    assert other.fingerprint != generator.fingerprint
