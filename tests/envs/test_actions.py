"""Actions mean what the design says, and wrong ones are refused by name."""

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from base.decisions import SKIP, Choice, DecisionSpace, Ratio
from base.errors import ConfigError, GenerationError
from envs.actions import BoxActions, DiscreteActions, action_encoding, product_menu
from envs.replacement import nearest_allowed, permitted
from envs.toy import ToyGenerator, ToyRequest

SPACE = ToyGenerator.decision_space
LABELS, STAGES = ["cat", "dog"], np.array([1, 2])


def test_discrete_picks_from_the_menu() -> None:
    actions = DiscreteActions(SPACE)
    assert actions.space == spaces.Discrete(4)
    decoded = actions.decode(np.array([0, 3]), LABELS, STAGES)
    assert decoded == [
        {"prune_ratio": 0.0, "guidance": True},
        {"prune_ratio": SKIP, "guidance": True},
    ]
    decoded[0]["prune_ratio"] = 0.5  # a copy: the menu stays
    assert actions.menu[0]["prune_ratio"] == 0.0


@pytest.mark.parametrize(
    ("number", "ratio"),
    [(-1, 0), (-0.9, 0), (-0.89, 0.055), (0, 0.5), (0.89, 0.945), (0.9, SKIP), (1, SKIP)],
)
def test_box_ratio(number: float, ratio: float) -> None:
    decision = BoxActions(SPACE).decode([[number, -1.0]], ["cat"], STAGES)[0]
    assert decision["prune_ratio"] == pytest.approx(ratio) and decision["guidance"] is True


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_box_always_gives_a_possible_decision(ratio: float, guidance: float) -> None:
    actions = BoxActions(SPACE)
    decision = actions.decode([[ratio, guidance]], ["cat"], STAGES)[0]
    assert SPACE.complete(decision) == decision
    clipped = actions.decode(np.clip([[ratio, guidance]], -1, 1), ["cat"], STAGES)[0]
    assert decision == clipped


def test_box_without_skip_and_with_three_choices() -> None:
    space = DecisionSpace(
        {"share": Ratio(skippable=False), "step": Choice((1, 2, 4))}, ({"share": 0.0},)
    )
    decoded = BoxActions(space).decode([[1, -1], [-1, 0], [-1, 1]], ["a"] * 3, np.zeros(3))
    assert decoded == [
        {"share": 0.95, "step": 1},
        {"share": 0.0, "step": 2},
        {"share": 0.0, "step": 4},
    ]


@pytest.mark.parametrize("mode", ["discrete", "box"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_names_environment_request_stage_and_value(mode: str, value: float) -> None:
    actions = np.zeros((2, 2) if mode == "box" else 2)
    actions[(1, 0) if mode == "box" else 1] = value
    with pytest.raises(ConfigError, match=rf"environment 1 \(request 'dog', stage 2\) is {value}"):
        action_encoding(SPACE, mode).decode(actions, LABELS, STAGES)


@pytest.mark.parametrize("actions", [[0.5, 1], [-1, 0], [0, 4], [[0], [0]], 0, [True, False], None])
def test_discrete_refuses(actions: object) -> None:
    with pytest.raises(ConfigError, match="expected"):
        DiscreteActions(SPACE).decode(actions, LABELS, STAGES)


@pytest.mark.parametrize("actions", [[0.5, 1], [[0, 0]], [[0], [0]], [["a", "b"]] * 2])
def test_box_refuses_other_shapes(actions: object) -> None:
    with pytest.raises(ConfigError, match=r"expected numbers of shape \(2, 2\)"):
        BoxActions(SPACE).decode(actions, LABELS, STAGES)


def test_menus() -> None:
    menu = product_menu(SPACE, (0, 0.4, SKIP), {"guidance": (True, False)})
    assert [tuple(entry.values()) for entry in menu] == [
        (0.0, True),
        (0.4, True),
        (0.0, False),
        (0.4, False),
        (SKIP, True),
    ]
    assert product_menu(SPACE, (0, 0.4)) == menu[:2]
    assert action_encoding(SPACE, "discrete", menu).space == spaces.Discrete(5)
    with pytest.raises(ConfigError, match="differ"):
        DiscreteActions(SPACE, [{}, {"prune_ratio": 0.0}])
    with pytest.raises(ConfigError, match="differ"):
        DiscreteActions(SPACE, [])
    with pytest.raises(ConfigError, match=r"is 1\.2"):
        product_menu(SPACE, (0, 1.2))
    with pytest.raises(ConfigError, match="guidence"):
        product_menu(SPACE, (0,), {"guidence": (True,)})
    with pytest.raises(ConfigError, match="'continuous'"):
        action_encoding(SPACE, "continuous")
    with pytest.raises(ConfigError, match="menu"):
        action_encoding(SPACE, "box", menu)


def test_forbidden_decisions_become_the_nearest_allowed_ones() -> None:
    generator = ToyGenerator()
    menu = DiscreteActions(SPACE).menu
    state = generator.begin([ToyRequest(0)])  # the first stage cannot be skipped
    skip = {"prune_ratio": SKIP, "guidance": True}
    assert nearest_allowed(generator, state, 0, skip, menu) == {
        "prune_ratio": 0.7,
        "guidance": True,
    }
    state = generator.advance(state, [{"guidance": False}])  # guidance stays dropped
    wanted = {"prune_ratio": 0.33, "guidance": True}
    decisions, replaced = permitted(generator, state, [wanted], menu, strict=False)
    assert decisions == [{"prune_ratio": 0.33, "guidance": False}] and replaced == [True]
    assert permitted(generator, state, decisions, menu, strict=True) == (decisions, [False])
    with pytest.raises(GenerationError, match=r"stage 1 of request 'toy 0'.*strict_actions=False"):
        permitted(generator, state, [wanted], menu, strict=True)


def test_nothing_near_is_allowed() -> None:
    generator = ToyGenerator()
    generator.decision_space = DecisionSpace(
        {"prune_ratio": Ratio(), "guidance": Choice((True,))}, ({"prune_ratio": SKIP},)
    )
    menu = DiscreteActions(generator.decision_space).menu
    state = generator.begin([ToyRequest(0)])
    with pytest.raises(GenerationError, match="menu"):
        permitted(generator, state, list(menu), menu, strict=False)
