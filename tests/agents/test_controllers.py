import numpy as np
import pytest

from agents.controllers import RatioFunction
from agents.parse_controller import parse_controller
from agents.rollout import run_controller
from base.errors import CheckpointError, ConfigError, GenerationError
from envs.toy import ToyGenerator, ToyRequest

REQUESTS = [ToyRequest(index, seed=index) for index in range(7)]  # 3, 4 and 5 stages


def run(controller, generator=None, requests=REQUESTS, batch_size=4):
    return list(run_controller(generator or ToyGenerator(), controller, requests, batch_size))


def parsed(text):
    return parse_controller(text, ToyGenerator(), REQUESTS[2])


def test_none_computes_everything():
    for result in run(parsed("none")):
        assert result.cost_flops == result.full_cost_flops
        assert all(decision["prune_ratio"] == 0 for decision in result.decisions)


def test_schedule_names_stages_of_every_request():
    for result in run(parsed('schedule:"8:0.4,tail=[1.0]"')):
        chosen = dict(zip(result.stage_names, result.decisions, strict=True))
        assert chosen["8x8"]["prune_ratio"] == 0.4
        assert chosen["16x16"]["prune_ratio"] == 1.0
        assert {chosen[name]["prune_ratio"] for name in chosen if name not in ("8x8", "16x16")} <= {
            0.0
        }
        assert 0 < result.cost_flops < result.full_cost_flops


def test_a_forbidden_decision_of_a_schedule_is_an_error():
    with pytest.raises(GenerationError, match="forbidden at stage 0 of request 'toy 2'"):
        run(parsed("schedule:si=0:1"), requests=REQUESTS[2:3])


def test_equal_schedules_have_one_identity():
    assert parsed("schedule: 8:0.4").identity == parsed("schedule:8:0.4").identity
    assert parsed("schedule:8:0.4").identity != parsed("schedule:8:0.5").identity


def test_python_function_gets_stage_and_number_of_stages(tmp_path, monkeypatch):
    (tmp_path / "my_rule.py").write_text(
        "def get_pruning_ratio(scale, num_scales):\n"
        "    return 1.0 if scale == num_scales - 1 else 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    controller = parsed("python:my_rule:get_pruning_ratio")
    for result in run(controller):
        ratios = [decision["prune_ratio"] for decision in result.decisions]
        assert ratios == [0.0] * (len(ratios) - 1) + [1.0]
    assert "source" in controller.identity
    assert "unknown" not in controller.identity


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1, None, "x", np.array([1.0, 2.0])])
def test_python_function_with_a_bad_value_is_named(value):
    controller = RatioFunction("python:m:f", lambda stage, num_stages: value)
    with pytest.raises(ConfigError, match=r"python:m:f returned .* for stage 0 of"):
        run(controller)


def test_random_does_not_depend_on_neighbours_and_is_allowed():
    together = run(parsed("random:3"), batch_size=7)
    alone = run(parsed("random:3"), batch_size=1)
    assert [result.decisions for result in together] == [result.decisions for result in alone]
    assert [r.decisions for r in run(parsed("random:4"))] != [r.decisions for r in together]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ConfigError, "expected one of: none"),
        ("fast", ConfigError, "'fast' is not known"),
        ("none:1", ConfigError, "not known"),
        ("random:x", ConfigError, "not known"),
        ("policy:", ConfigError, "not known"),
        ("schedule:", ConfigError, "none"),
        ("schedule:64:0.5", ConfigError, "1x1, 2x2, 4x4, 8x8, 16x16"),
        ("python:", ConfigError, "python:module:function"),
        ("python:math", ConfigError, "python:module:function"),
        ("python:no_such_module:f", ConfigError, "cannot import no_such_module"),
        ("python:math:no_such", ConfigError, "has no 'no_such'"),
        ("python:math:pi", ConfigError, "not a function"),
        ("policy:/no/such/folder", CheckpointError, r"no policy\.json in /no/such/folder"),
    ],
)
def test_texts_that_are_no_controller(text, error, words):
    with pytest.raises(error, match=words):
        parsed(text)


def test_results_do_not_depend_on_the_batch():
    for text in ("none", "schedule:tail=[0.4,0.7]"):
        for one, other in zip(run(parsed(text), batch_size=1), run(parsed(text)), strict=True):
            assert np.array_equal(one.output, other.output)
            assert one.cost_flops == other.cost_flops


def test_batch_size_zero_is_refused():
    with pytest.raises(ConfigError, match="batch_size is 0"):
        run(parsed("none"), batch_size=0)
