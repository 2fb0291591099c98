import numpy as np
import pytest

from agents.comparison import Bench, swap_partners
from agents.controllers import Situation
from envs.references import ReferenceCache
from envs.tabulate import tabulate
from envs.tabulated import TableGenerator
from envs.toy import ToyGenerator, ToyRequest


def test_partners_are_each_others_near_in_cost_and_differ_in_decisions():
    random = np.random.default_rng(0)
    decisions = [("keep", "skip")[index] for index in random.integers(0, 2, 40)]
    compute = random.random(40)
    partners = swap_partners(compute, decisions, tolerance=0.1, seed=0)
    paired = np.flatnonzero(partners >= 0)
    assert len(paired) >= 20
    for place in paired:
        partner = partners[place]
        assert partners[partner] == place
        assert decisions[partner] != decisions[place]
        assert abs(compute[partner] - compute[place]) <= 0.1
    # so nothing is won or lost in compute
    assert np.isclose(compute[partners[paired]].sum(), compute[paired].sum())


def test_where_all_is_decided_alike_nothing_can_be_swapped():
    assert (swap_partners(np.linspace(0, 1, 9), ["skip"] * 9, tolerance=1.0, seed=0) == -1).all()


def test_partners_have_equally_many_stages():
    """The decisions of a short clip say nothing about the end of a long one."""
    decisions = [("keep", "skip"), ("skip", "keep"), ("skip",), ("keep",), ("keep", "keep", "skip")]
    partners = swap_partners(np.linspace(0.5, 0.504, 5), decisions, tolerance=0.1, seed=0)
    assert partners.tolist() == [1, 0, 3, 2, -1]


class Always:
    """One decision at every stage; what the generator forbids is replaced by one of a menu."""

    name = identity = "always"
    flops_per_decision = 0.0
    first_controlled_stage = 0
    obs_mode = "vector"

    def __init__(self, decision, menu):
        self.decision, self.replacements = decision, menu

    def decide(self, situation: Situation):
        return [self.decision for _ in situation.requests]


@pytest.mark.parametrize("wanted", [1.0, 0.3])
def test_a_table_gives_what_the_generator_makes(wanted, monkeypatch):
    """Also where a stage cannot be skipped: the table knows that, and nothing is made anew."""
    generator, cache = ToyGenerator(), ReferenceCache()
    requests = [ToyRequest(number, number) for number in range(1, 31, 3)]  # of four stages
    menu = tuple(
        generator.decision_space.complete({"prune_ratio": ratio}) for ratio in (0.0, 0.5, 1.0)
    )
    table = TableGenerator(tabulate(generator, requests, cache, num_stages=4, menu=menu))
    controllers = {"always": Always({**menu[0], "prune_ratio": wanted}, menu)}
    made = Bench(generator, None, requests, cache).measure("always", controllers)
    looked_up = Bench(generator, table, requests, cache)
    if wanted == 1.0:
        assert len({str(decision) for decision in made.decisions[0][0]}) > 1  # one was replaced
        monkeypatch.setattr(generator, "begin", None)  # whatever makes something would need it
    found = looked_up.measure("always", controllers)
    assert found.decisions == made.decisions
    np.testing.assert_allclose(found.front.compute, made.front.compute)
    np.testing.assert_allclose(found.front.figures["ssim"], made.front.figures["ssim"])
