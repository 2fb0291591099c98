"""The closed form counts what torch counts."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sign_backend.cost import poseformer_flops
from tests.sign_backend.tiny import tiny_model


@pytest.mark.parametrize("frames", [1, 7, 40])
@pytest.mark.parametrize(
    "changes", [{}, {"multilingual_conditioned": True, "num_classes": (3, 2), "d_hidden": 12}]
)
def test_cost_is_what_torch_counts(frames, changes):
    model = tiny_model(**changes)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.rand(frames, 1, 75, 3))
    assert poseformer_flops(model.config, frames) == counter.get_total_flops()
