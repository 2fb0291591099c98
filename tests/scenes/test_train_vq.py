"""Codes follow what falls to them, all of them are used, and training makes errors smaller."""

import numpy as np
import torch

from fourm_backend.tokenizer import TokenizerSettings, VQTokenizer
from scenes.optimizer import make_optimizer
from scenes.train_vq import VQLossConfig, move_codes, vq_loss

SETTINGS = TokenizerSettings(1, (2, 2), (4, 4), 64, 1, None, 8, 4)


def test_codes_go_to_the_middle_of_what_chose_them_and_idle_ones_move() -> None:
    torch.manual_seed(0)
    tokenizer = VQTokenizer(SETTINGS)
    directions = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    latent = directions[torch.arange(60) % 3].view(15, 4, 4)
    for _ in range(200):
        tokens = move_codes(tokenizer, latent, VQLossConfig(decay=0.9))
    nearest = tokenizer.codes[tokens]
    torch.testing.assert_close(nearest, latent, atol=1e-3, rtol=0)
    torch.testing.assert_close(tokenizer.codes.norm(dim=1), torch.ones(8))
    # an idle code lies on something that was seen
    assert float((tokenizer.codes @ directions.T).amax(1).min()) > 0.99


def test_a_few_steps_lower_the_error() -> None:
    torch.manual_seed(0)
    tokenizer = VQTokenizer(SETTINGS)
    levels = torch.rand(64, 1, 2, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    values = levels.repeat_interleave(4, 2).repeat_interleave(4, 3)
    loss = vq_loss(tokenizer, lambda rng: (values[rng.integers(64, size=32)], torch.ones(())))
    optimizer = make_optimizer([tokenizer], 3e-3)
    squared = []
    for step in range(60):
        total, figures = loss(step, np.random.default_rng(step))
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        squared.append(figures["squared"])
    assert np.mean(squared[-5:]) < 0.3 * np.mean(squared[:5])
