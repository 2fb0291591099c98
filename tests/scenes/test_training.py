from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from base.errors import CheckpointError
from infinity_backend.architecture import VAEConfig
from infinity_backend.vae import VAE
from scenes.bf16 import Bf16Linear
from scenes.loop import LoopConfig, train
from scenes.optimizer import make_optimizer, orthogonalize
from scenes.train_vae import partial_codes, vae_loss

SCHEDULE = [(1, 1), (2, 2), (8, 8)]


def small_vae() -> VAE:
    torch.manual_seed(3)
    return VAE(VAEConfig(8, 24, (1, 1), 1, 8, 4))


def run(folder: Path, steps: int, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    """Train a small VAE; `stop_at` breaks off before that step, as a kill would."""
    vae = small_vae()
    loss = vae_loss(vae, SCHEDULE, 4)

    def breaking(step, rng):
        if step == stop_at:
            raise InterruptedError
        return loss(step, rng)

    train("vae", {"vae": vae}, breaking, LoopConfig(steps, 4, warmup=2, save_every_s=0), folder)
    return vae.state_dict()


def test_a_broken_off_training_goes_on_to_the_same_weights(tmp_path):
    whole = run(tmp_path / "whole", 5)
    with pytest.raises(InterruptedError):
        run(tmp_path / "broken", 5, stop_at=3)
    resumed = run(tmp_path / "broken", 5)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_damaged_restart_file_is_named(tmp_path):
    run(tmp_path, 1)
    file = tmp_path / "vae.restart.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"vae\.restart\.safetensors"):
        run(tmp_path, 2)


def test_a_few_steps_lower_the_loss_of_the_vae(tmp_path):
    vae = small_vae()
    loss = vae_loss(vae, SCHEDULE, 8)

    def value() -> float:
        torch.manual_seed(0)
        return loss(0, np.random.default_rng(0))[0].item()

    before = value()
    train("vae", {"vae": vae}, loss, LoopConfig(120, 8, 2e-3, warmup=5), tmp_path)
    assert value() < 0.8 * before
    assert load_file(tmp_path / "vae.restart.safetensors")


def test_partial_codes_of_all_scales_are_the_codes():
    vae = small_vae()
    quantized = vae.encode(torch.rand(3, 3, 64, 64) * 2 - 1, SCHEDULE)[1]
    codes = partial_codes(quantized.bits, torch.tensor([3, 3, 1]))
    assert torch.allclose(codes[:2], quantized.codes[:2], atol=1e-6)
    assert not torch.allclose(codes[2], quantized.codes[2])
    assert torch.allclose(codes[2], codes[2, :, :1, :1].expand_as(codes[2]))


def test_orthogonalize_brings_the_singular_values_near_one():
    for shape in ((32, 96), (96, 32)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_the_optimizer_takes_every_trainable_parameter_once():
    vae = small_vae()
    vae.encoder.requires_grad_(False)
    optimizer = make_optimizer([vae], 1e-3)
    taken = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(taken) == sorted(id(p) for p in vae.decoder.parameters())


def test_bfloat16_linear_layers_are_close_to_float32_and_so_are_their_gradients():
    layer, x = torch.nn.Linear(64, 48), torch.randn(5, 7, 64, requires_grad=True)
    exact = layer(x)
    exact.square().sum().backward()
    wanted = [x.grad.clone(), layer.weight.grad.clone(), layer.bias.grad.clone()]
    x.grad = layer.weight.grad = layer.bias.grad = None
    with Bf16Linear():
        close = layer(x)
    close.square().sum().backward()
    assert close.dtype == torch.float32
    assert not torch.equal(close, exact)
    assert torch.allclose(close, exact, atol=0.03)
    for grad, want in zip([x.grad, layer.weight.grad, layer.bias.grad], wanted, strict=True):
        assert (grad - want).norm() < 0.02 * want.norm()
