"""The shipped small model: rows by themselves and in company, trees of decisions, sizes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from base.decisions import SKIP
from infinity_backend.generator import InfinityGenerator
from infinity_backend.load import PRETRAINED
from infinity_backend.request import ImageRequest
from infinity_backend.sampling import keyed_uniform
from infinity_backend.state import GenerationState
from scenes.world import prompts


@pytest.fixture(scope="module")
def generator() -> InfinityGenerator:
    return InfinityGenerator.from_pretrained("scenes")


def requests(count: int) -> list[ImageRequest]:
    return [ImageRequest(scene.caption, seed) for seed, scene in enumerate(prompts("test", count))]


def plan(generator: InfinityGenerator, rows: int) -> list[list[dict[str, object]]]:
    """Decisions [stage][row], every row its own."""
    stream, menu = np.random.default_rng(0), generator.decision_space.menu
    return [
        [dict(menu[stream.integers(len(menu)) if stage else 0]) for _ in range(rows)]
        for stage in range(generator.max_stages)
    ]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Sums are then split by the size of the batch, and round otherwise alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_batch_of_sixteen_gives_the_bits_of_single_runs(generator: InfinityGenerator) -> None:
    """At least 95 % of the rows are bit-identical; where not, the first bit was a toss-up."""
    rows, decisions = requests(48), plan(generator, 48)
    different = 0
    for start in range(0, 48, 16):
        together = generator.begin(rows[start : start + 16])
        for stage in range(generator.max_stages):
            together = generator.advance(together, decisions[stage][start : start + 16])
        for index in range(16):
            alone = generator.begin([rows[start + index]])
            for stage in range(generator.max_stages):
                before = alone
                alone = generator.advance(alone, [decisions[stage][start + index]])
                mine, theirs = together.rows[index].signs[stage], alone.rows[0].signs[stage]
                if mine is None or theirs is None or torch.equal(mine, theirs):
                    continue
                different += 1
                if bool(((mine == 0) == (theirs == 0)).all()):  # the same tokens were kept
                    margin = _margin_of_first_difference(
                        generator, before, decisions, stage, start + index, mine != theirs
                    )
                    assert margin < 1e-3
                break
    assert different <= 0.05 * 48


def _margin_of_first_difference(
    generator: InfinityGenerator,
    before: GenerationState,
    decisions: list[list[dict[str, object]]],
    stage: int,
    row: int,
    differs: torch.Tensor,
) -> float:
    """How near the probability of the first differing bit was to its noise."""
    seen: dict[str, torch.Tensor] = {}
    stepper = generator.stepper
    decision = generator.decision_space.complete(decisions[stage][row])
    stepper.advance(before, [decision], observe=seen.__setitem__)
    logits = seen["logits"][0]  # [n, 2d]
    probability = torch.sigmoid(logits[:, 1::2] - logits[:, 0::2])
    height, width = stepper.config.schedule[stage]
    bits = probability.shape[1]
    noise = keyed_uniform([before.requests[0].seed], stage, height * width * bits)
    place = int(differs.flatten().nonzero()[0])
    token, bit = divmod(place, bits)
    if len(probability) < height * width:
        return 0.0  # pruned: the token's place among the kept ones is not recorded
    return float((probability[token, bit] - noise.view(-1, bits)[token, bit]).abs())


def test_the_leaves_of_a_tree_hold_their_prefix_once(generator: InfinityGenerator) -> None:
    """32 leaves need less than twice the memory of one finished request plus the last stages."""
    state = generator.begin(requests(1))
    menu = generator.decision_space.menu
    for _ in range(generator.max_stages - 3):
        state = generator.advance(state, [menu[0]])
    prefix = _bytes(state)
    leaves = generator.fork(state, [0] * 32)
    assert _bytes(leaves) < 1.1 * prefix + leaves.codes.nbytes * 2
    for shift in range(3):
        leaves = generator.advance(leaves, [menu[(row >> shift) % 4] for row in range(32)])
        if shift < 2:
            stages = 32 * (_bytes(_dense(generator, state, shift + 1)) - prefix)
            assert _bytes(leaves) < 2 * prefix + stages + 2 * leaves.codes.nbytes
    one = _dense(generator, state, 3)
    assert _bytes(one) < prefix  # done: nobody reads the keys and values any more
    assert _bytes(leaves) < 2 * prefix + 2 * leaves.codes.nbytes


def _dense(generator: InfinityGenerator, state: GenerationState, stages: int) -> GenerationState:
    for _ in range(stages):
        state = generator.advance(state, [{}] * len(state.rows))
    return state


def _bytes(state: GenerationState) -> int:
    """Bytes of all tensors that a state reaches, shared ones counted once."""
    tensors = {id(state.codes): state.codes, id(state.previous_codes): state.previous_codes}
    for row in state.rows:
        text = row.text.chunk
        held = [*text.keys, *text.values, text.pooled, text.shared, text.head]
        for ref in row.history:
            held += [*ref.chunk.keys, *ref.chunk.values]
        tensors |= {id(tensor): tensor for tensor in held}
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in tensors.values()
    }
    return sum(storages.values())


def test_the_last_three_scales_hold_most_of_the_compute(generator: InfinityGenerator) -> None:
    stages = generator.stages(requests(1)[0])
    costs = [stage.cost_flops for stage in stages]
    assert len(stages) >= 7 and sum(costs[-3:]) > 0.5 * sum(costs)


def test_the_weights_are_small() -> None:
    files = [path for path in Path(PRETRAINED / "scenes").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 25 * 2**20


def test_pruning_hurts_and_skipping_hurts_more(generator: InfinityGenerator) -> None:
    rows = requests(8)
    images = {}
    for ratio in (0.0, 0.4, SKIP):
        state = generator.begin(rows)
        for stage in range(generator.max_stages):
            last = stage == generator.max_stages - 1
            state = generator.advance(state, [{"prune_ratio": ratio if last else 0.0}] * 8)
        images[ratio] = generator.finish(state).astype(np.float64)
    error = {ratio: ((image - images[0.0]) ** 2).mean() for ratio, image in images.items()}
    assert 0 < error[0.4] < error[SKIP]
