"""Closed forms against the published cost of whole recipes, in TFLOP."""

import pytest

from fourm_backend.config import Architecture, build
from fourm_backend.cost import context_flops, query_flops
from fourm_backend.egom2p import TASKS
from fourm_backend.modalities import EGOM2P, FOURM
from fourm_backend.task import Task

CLIP, RGB = "tok_clip@224", "tok_rgb@224"


def tflops(config: Architecture, task: Task, given: int, left: int) -> float:
    """A whole run: `given` tokens of conditions, of which guidance leaves `left` visible."""
    modalities = FOURM | EGOM2P
    made = dict.fromkeys(task.target_domains, 0)
    total = 0
    for step in task.schedule(modalities):
        assert step.num_tokens is not None
        with_all = given + sum(made.values())
        without = left + made[step.target_domain]
        for seen in (with_all, without) if step.guided else (with_all,):
            vocabulary = modalities[step.target_domain].vocab_size
            total += context_flops(config, seen, seen) if seen else 0
            total += query_flops(config, step.num_tokens, seen, vocabulary)
        made[step.target_domain] += step.num_tokens
    return total / 1e12


@pytest.mark.parametrize(
    ("size", "steps", "scale", "expected"),
    [
        ("base", "49-25", 3.0, 4.3857),
        ("base", "49-25", 1.0, 2.8349),
        ("base", "25-12", 3.0, 2.2333),
        ("base", "196-196", 3.0, 25.4189),
        ("large", "49-25", 3.0, 15.4),
        ("xlarge", "49-25", 3.0, 60.6),
    ],
)
def test_caption_to_clip_to_rgb(size: str, steps: str, scale: float, expected: float) -> None:
    task = Task.from_values(
        {
            "cond_domains": "caption",
            "target_domains": f"{CLIP}-{RGB}",
            "autoregression_schemes": "roar",
            "decoding_steps": steps,
            "cfg_scales": scale,
        }
    )
    cost = tflops(build(size), task, given=16, left=1)
    assert cost == pytest.approx(expected, rel=1e-4 if expected != round(expected, 1) else 0.005)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("rgb2depth", 16.3), ("depth2rgb", 29.9), ("rgb2gaze", 10.0), ("rgb2cam", 6.0)],
)
def test_egom2p_tasks(name: str, expected: float) -> None:
    cost = tflops(build("base", video=True), TASKS[name], given=5120, left=0)
    assert cost == pytest.approx(expected, rel=0.01)
