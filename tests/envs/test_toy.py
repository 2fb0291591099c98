"""The toy generator follows the protocol, and holds something to be learnt."""

import numpy as np
import pytest

from base.decisions import SKIP
from base.errors import GenerationError
from envs.replay import replay
from envs.toy import ToyGenerator, ToyRequest
from eval.fidelity import PRIMARY, fidelity
from tests.envs import protocol_checks

REQUESTS = [ToyRequest(index, seed=7) for index in range(5)]


@pytest.mark.parametrize("kind", ["image", "tokens"])
def test_follows_the_protocol(kind: str) -> None:
    protocol_checks.check_generator(ToyGenerator(kind), REQUESTS)


def test_guidance_that_was_dropped_stays_dropped() -> None:
    generator = ToyGenerator()
    state = generator.advance(generator.begin(REQUESTS[:1]), [{"guidance": False}])
    asked = [{"guidance": True}, {"guidance": False}, {"prune_ratio": SKIP, "guidance": True}]
    assert generator.allowed(state, asked).tolist() == [[False, True, True]]
    with pytest.raises(GenerationError, match=r"toy 0.*stage 1"):
        generator.advance(state, [{"guidance": True}])


@pytest.mark.parametrize("kind", ["image", "tokens"])
def test_skipping_the_end_costs_detailed_requests_more(kind: str) -> None:
    generator = ToyGenerator(kind)
    requests = [ToyRequest(index) for index in range(40)]
    full = [[{}] * len(generator.stages(request)) for request in requests]
    cut = [[{}] * (len(each) - 1) + [{"prune_ratio": SKIP}] for each in full]
    references = generator.finish(replay(generator, requests, full)[0])
    outputs = generator.finish(replay(generator, requests, cut)[0])
    kept = fidelity(kind, outputs, references)[PRIMARY[kind]]
    detail = np.array([request.detail for request in requests])
    assert kept[detail < 0.25].mean() > kept[detail > 0.75].mean() + 0.1
    assert np.corrcoef(detail, kept)[0, 1] < -0.7
