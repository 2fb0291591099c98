"""A table gives the same environment as the generator that it was made from."""

from dataclasses import replace

import numpy as np
import pytest

from base.errors import ConfigError, DataError, GenerationError
from envs.decision_table import load_table, save_table
from envs.pruning_env import PruningEnv
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv
from envs.tabulate import tabulate
from envs.tabulated import TableGenerator
from envs.toy import ToyGenerator, ToyRequest
from tests.envs.protocol_checks import (
    check_allowed_agrees_with_advance,
    check_costs,
    check_rows_do_not_depend_on_neighbours,
)

GENERATOR = ToyGenerator()
REQUESTS = [ToyRequest(index, seed=index % 2) for index in range(1, 16, 3)]  # 4 stages each


@pytest.fixture(scope="module")
def table():
    return tabulate(GENERATOR, REQUESTS, ReferenceCache(), 3, batch_size=2, rows_at_once=7)


def test_every_node_equals_the_generator(table):
    assert table.costs.shape == (5, 1 + 4 + 16 + 64)
    assert (table.first_stage, table.depth, table.first_leaf) == (1, 3, 21)
    for leaf in (0, 1, 23, 63):
        decisions = table.decisions(leaf)
        state = GENERATOR.begin(REQUESTS)
        costs = np.array([GENERATOR.fixed_cost(request) for request in REQUESTS])
        for decision in decisions:
            costs += GENERATOR.cost(state, [decision] * 5)
            state = GENERATOR.advance(state, [decision] * 5)
        np.testing.assert_allclose(table.compute()[:, leaf] * table.full_costs, costs)
        np.testing.assert_array_equal(table.features[:, 21 + leaf], GENERATOR.features(state))
    assert (table.figures["ssim"][:, 0] == 1).all()
    assert (table.compute()[:, 0] == 1).all()
    assert table.choices(23) == (1, 1, 3)


def test_same_environment_as_the_generator(table):
    settings = {"first_controlled_stage": 1, "preference": (0.2, 0.8)}
    live = PruningVecEnv(GENERATOR, REQUESTS, 3, **settings)
    looked_up = PruningVecEnv(TableGenerator(table), table.requests, 3, **settings)
    assert live.observation_space == looked_up.observation_space
    assert live.action_space == looked_up.action_space
    for env in (live, looked_up):
        env.seed(7)
    np.testing.assert_array_equal(live.reset(), looked_up.reset())
    random = np.random.default_rng(0)
    for _ in range(30):
        actions = random.integers(0, 4, 3)
        expected, found = live.step(actions), looked_up.step(actions)
        np.testing.assert_array_equal(expected[0], found[0])
        np.testing.assert_allclose(expected[1], found[1], atol=1e-6)
        np.testing.assert_array_equal(expected[2], found[2])
        for one, other in zip(expected[3], found[3], strict=True):
            assert one.get("psnr") == other.get("psnr")
            assert one.get("label") == other.get("label")
            assert one["stage_cost_flops"] == other["stage_cost_flops"]


def test_the_file_gives_back_the_table(table, tmp_path):
    path = save_table(tmp_path / "table.npz", table)
    found = load_table(path)
    arrays = ("fixed_costs", "costs", "features", "feature_costs")
    for name in arrays:
        np.testing.assert_array_equal(getattr(found, name), getattr(table, name))
    for name, values in table.figures.items():
        np.testing.assert_array_equal(found.figures[name], values)
    plain = {**dict.fromkeys(arrays), "figures": {}}
    assert replace(found, **plain) == replace(table, **plain)


def test_damaged_files_are_told(table, tmp_path):
    path = save_table(tmp_path / "table.npz", table)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged"):
        load_table(path)
    path.write_bytes(content[:400] + bytes(50) + content[450:])
    with pytest.raises(DataError, match="damaged"):
        load_table(path)
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    with pytest.raises(DataError, match="not a table"):
        load_table(tmp_path / "other.npz")
    with pytest.raises(DataError, match="prunegym tabulate"):
        load_table(tmp_path / "missing.npz")


def test_a_table_keeps_the_protocol(table):
    """As far as a table can: it has no other seeds and no previews."""
    generator = TableGenerator(table)
    check_costs(generator, table.requests)
    check_rows_do_not_depend_on_neighbours(generator, table.requests, 0.0)
    check_allowed_agrees_with_advance(generator, table.requests)


def test_what_a_table_does_not_hold_is_refused(table):
    generator = TableGenerator(table)
    request = table.requests[0]
    assert generator.request(request.label, request.seed) is request
    with pytest.raises(DataError, match="not among the 5 requests"):
        generator.request("toy 2", 0)
    with pytest.raises(DataError, match="fresh_seeds"):
        generator.begin([request.with_seed(99)])
    assert request.with_seed(99).key != request.key
    assert request.with_seed(99).with_seed(request.seed) == request
    env = PruningEnv(generator, table.requests, first_controlled_stage=0)
    with pytest.raises(GenerationError, match="first_controlled_stage to 1"):
        env.reset(seed=0)
    state = generator.advance(generator.begin([request]), [{}])
    with pytest.raises(GenerationError, match="does not have"):
        generator.advance(state, [{"prune_ratio": 0.5}])
    cost = generator.cost(state, [{"prune_ratio": 0.55}])[0]
    assert table.costs[0, 3] < cost < table.costs[0, 2]
    with pytest.raises(ConfigError, match="images"):
        PruningEnv(generator, table.requests, keep_images=True)


def test_a_box_action_is_the_nearest_tabulated_decision(table):
    env = PruningEnv(
        TableGenerator(table), table.requests, action_mode="box", first_controlled_stage=1
    )
    env.reset(seed=0)
    *_, info = env.step(np.array([0.3, -1.0], np.float32))  # a ratio of 0.65
    assert info["decision"] == {"prune_ratio": 0.7, "guidance": True}
    assert info["action_replaced"]


def test_what_cannot_be_tabulated_is_refused():
    with pytest.raises(ConfigError, match="one length"):
        tabulate(GENERATOR, [ToyRequest(0), ToyRequest(1)], ReferenceCache(), 2)
    with pytest.raises(ConfigError, match="one length"):
        tabulate(GENERATOR, REQUESTS, ReferenceCache(), 5)
    dropping = [{"guidance": True}, {"guidance": False}]  # once dropped it stays dropped
    with pytest.raises(ConfigError, match="depends on those before"):
        tabulate(GENERATOR, REQUESTS, ReferenceCache(), 2, menu=dropping)
    whole = tabulate(GENERATOR, REQUESTS[:1], ReferenceCache(), 4)
    assert whole.open_choices[0] == (0, 1, 2)  # the first stage cannot be skipped
    assert whole.figures["ssim"].shape == (1, 3 * 4**3)
