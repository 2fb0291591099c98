import numpy as np

from agents.comparison import swap_partners


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
