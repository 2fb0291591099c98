from eval.compute import Compute, StageDecision
from eval.decisions import decisions_by_stage, decisions_text


def test_decisions_are_counted_by_stage():
    costs = [
        Compute(decisions=(StageDecision("x", 0.3, False), StageDecision("y", 1.0, False))),
        Compute(decisions=(StageDecision("x", 0.5, True),)),
        Compute(decisions=(StageDecision("x", 0.0, True), StageDecision("y", 0.7, True))),
        Compute(),
    ]
    counted = decisions_by_stage(costs)
    assert list(counted) == ["x", "y"]
    third, half = 1 / 3, 1 / 2
    assert counted["x"]["images"] == 3
    assert counted["x"]["histogram"] == [third, third, third, 0, 0]
    assert abs(counted["x"]["mean_ratio"] - 0.8 / 3) < 1e-12
    assert counted["x"]["without_guidance"] == third
    assert counted["y"]["histogram"] == [0, 0, 0, half, half]
    assert counted["y"]["without_guidance"] == 0  # what is skipped has no guidance to leave out


def test_decisions_are_written_as_schedules_are():
    decisions = [StageDecision("4x4", 0.4, True), StageDecision("8x8", 1.0, False)]
    assert decisions_text(decisions) == "4x4:0.4,8x8:1!"
    assert decisions_text([]) == ""
