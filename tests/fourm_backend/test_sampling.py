"""By how much a token won: what it takes for another one to be drawn under the same noise."""

import math

import numpy as np
import pytest
import torch

from fourm_backend.generator import FourMGenerator
from fourm_backend.request import TokenRequest
from fourm_backend.sampling import draw, lead, probabilities
from fourm_backend.stepper import Stepper
from fourm_backend.task import Task
from fourm_backend.toy import CAPTION, RGB, random_model
from tests.fourm_backend.tiny import caption

TEMPERATURE, MOVED = 0.5, 0.1


def test_a_token_that_won_by_more_than_the_logits_move_is_drawn_again():
    lot = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 30, generator=lot)
    noise = torch.empty(400, 30).exponential_(generator=lot)
    moved = logits + MOVED * (2 * torch.rand(400, 30, generator=lot) - 1)
    chances = probabilities(logits, TEMPERATURE)
    tokens, _ = draw(logits, chances, noise)
    others, _ = draw(moved, probabilities(moved, TEMPERATURE), noise)
    leads = lead(logits, chances, noise)
    assert (leads > 0).all()
    safe = leads > 2 * MOVED / TEMPERATURE
    assert 0.5 < safe.float().mean() < 1 and (tokens == others)[safe].all()
    assert (tokens != others)[~safe].any(), "a small lead can be lost"


def test_without_noise_the_lead_is_between_the_logits():
    logits = torch.tensor([[1.0, 3.0, 2.5], [0.0, -torch.inf, -torch.inf]])
    assert lead(logits, None, None).tolist() == [0.5, math.inf]


def test_close_calls_are_counted_where_tokens_wait(monkeypatch):
    """The feature against the leads themselves; what is fixed is out of danger."""
    chain = {"cond_domains": "caption", "target_domains": RGB.name, "temps": 1.0}
    chain |= {"autoregression_schemes": "maskgit", "decoding_steps": 3, "cfg_scales": 1.0}
    generator = FourMGenerator(random_model(CAPTION, RGB), Task.from_values(chain))
    seen = []
    write = Stepper._draw

    def spy(stepper, row, plan, logits, branches):
        after = write(stepper, row, plan, logits, branches)
        waits = ~after.targets[RGB.name]["target_mask"][0, plan.positions[0]]
        seen.append((int(waits.sum()), after.close_calls))
        return after

    monkeypatch.setattr(Stepper, "_draw", spy)
    state = generator.begin([TokenRequest("one", {"caption": caption(7, 8)}, seed=5)])
    column = generator.feature_names.index("close_calls")
    while not state.done.all():
        state = generator.advance(state, [{}])
        shown = generator.features(state)[0, column]
        assert shown == pytest.approx(np.log1p(seen[-1][1]), rel=1e-6)
    waiting, calls = (np.array(values) for values in zip(*seen, strict=True))
    assert len(seen) == 3 and waiting[-1] == 0 == calls[-1]
    assert ((calls[:-1] > 0) & (calls[:-1] < waiting[:-1])).all()
