"""The protocol holds; the neutral run is `generate`; costs are what the counter sees."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from base.decisions import SKIP
from base.errors import ConfigError, DataError, GenerationError
from envs.replay import replay
from fourm_backend.generate import generate
from fourm_backend.generator import FourMGenerator
from fourm_backend.request import TokenRequest
from fourm_backend.samples import empty_target, full_input
from fourm_backend.sampling import SiteNoise
from fourm_backend.task import Task
from fourm_backend.toy import CAPTION, CLIP, GAZE, RGB, VIDEO, random_model
from tests.envs.protocol_checks import check_generator, random_decisions
from tests.fourm_backend.tiny import PIXELS, VECTORS, caption, pixels

CHAIN = Task.from_values(
    {
        "cond_domains": "caption-rgb@16",
        "target_domains": "tok_clip@16-tok_rgb@16",
        "autoregression_schemes": "roar-maskgit",
        "decoding_steps": "4-3",
        "temps": "1.5-1.0",
        "temp_schedules": "constant",
        "cfg_scales": "2.0-1.5",
        "top_p": 0.9,
    }
)


@pytest.fixture(scope="module")
def generator() -> FourMGenerator:
    return FourMGenerator(random_model(CAPTION, PIXELS, CLIP, RGB), CHAIN)


@pytest.fixture(scope="module")
def requests() -> list[TokenRequest]:
    texts = [(7, 8), (9, 10, 11, 12), (7, 30), (13,)]
    return [
        TokenRequest(f"request {i}", {"caption": caption(*ids), "rgb@16": pixels(i)}, seed=i)
        for i, ids in enumerate(texts)
    ]


def test_the_protocol(generator: FourMGenerator, requests: list[TokenRequest]) -> None:
    check_generator(generator, requests)


def test_egom2p_keeps_the_protocol() -> None:
    task = Task.from_values(
        {
            "cond_domains": ["tok_rgb"],
            "target_domains": ["tok_gaze"],
            "autoregression_schemes": "roar",
            "decoding_steps": 5,
            "temps": 0.5,
            "cfg_scales": 2.0,
            "top_p": 0.8,
        }
    )
    ego = FourMGenerator(random_model(VIDEO, GAZE, share_embedding=True), task)
    requests = []
    for index in range(3):
        video = torch.randint(20, (1, 20), generator=torch.Generator().manual_seed(index))
        inputs = {"tok_rgb": full_input(VIDEO, {"tensor": video})}
        requests.append(TokenRequest(f"video {index}", inputs, seed=index))
    check_generator(ego, requests)


def test_deciding_nothing_is_generate(
    generator: FourMGenerator, requests: list[TokenRequest]
) -> None:
    full = [[{}] * generator.max_stages] * len(requests)
    outputs = generator.finish(replay(generator, requests, full)[0])
    for request, output in zip(requests, outputs, strict=True):
        targets = {entry.name: empty_target(entry, 1) for entry in (CLIP, RGB)}
        made = generate(
            generator.model,
            {**request.inputs, **targets},
            generator.stepper.schedule,
            top_p=0.9,
            noise=SiteNoise([request.seed]),
        )
        expected = torch.cat([made[name]["tensor"][0] for name in targets]).numpy()
        np.testing.assert_array_equal(output, expected)
        assert len(np.unique(output)) > 4  # the model is not of one mind about everything


def test_costs_are_what_the_counter_sees(
    generator: FourMGenerator, requests: list[TokenRequest]
) -> None:
    check_costs(generator, requests[:2])


def test_costs_of_other_builds_and_conditions() -> None:
    task = Task.from_values(
        {
            "cond_domains": "t5_caption-rgb@16",
            "target_domains": "tok_clip@16",
            "decoding_steps": 3,
            "cfg_scales": 3,
        }
    )
    entry = {
        "tensor": torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(3)),
        "mask_valid": torch.tensor([[True] * 4 + [False] * 2]),
    }
    inputs = {"t5_caption": full_input(VECTORS, entry), "rgb@16": pixels(4)}
    model = random_model(
        VECTORS, PIXELS, CLIP, gated_mlp=False, act_layer="GELU", qk_norm=True, mlp_bias=True
    )
    check_costs(FourMGenerator(model, task), [TokenRequest("vectors", inputs)])
    registers = random_model(VECTORS, PIXELS, CLIP, num_register_tokens=2)
    check_costs(FourMGenerator(registers, task), [TokenRequest("vectors", inputs)])
    alone = Task.from_values({"target_domains": "tok_clip@16", "decoding_steps": 3})
    check_costs(FourMGenerator(model, alone), [TokenRequest("from nothing", {})])


def check_costs(generator: FourMGenerator, requests: list[TokenRequest]) -> None:
    """Every stage and the beginning, of a full run and of random ones."""
    stream = np.random.default_rng(0)
    for request in requests:
        full = [generator.decision_space.complete({})] * generator.max_stages
        for decisions in (full, random_decisions(generator, request, stream)):
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                state = generator.begin([request])
            assert counter.get_total_flops() == generator.fixed_cost(request)
            for stage, decision in enumerate(decisions):
                cost = generator.cost(state, [decision])[0]
                with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                    state = generator.advance(state, [decision])
                assert counter.get_total_flops() == cost, (stage, decision)
                if decisions is full:
                    assert cost == generator.stages(request)[stage].cost_flops


def test_skipped_tokens_are_made_later(
    generator: FourMGenerator, requests: list[TokenRequest]
) -> None:
    state = generator.begin(requests[:1])
    for stage in range(3):
        state = generator.advance(state, [{"prune_ratio": SKIP if stage else 0.5}])
    made = generator.tokens_by_target(generator.preview(state)[0])
    assert (made["tok_clip@16"] >= 0).sum() == 2 and (made["tok_rgb@16"] == -1).all()
    state = generator.advance(state, [{}])
    made = generator.tokens_by_target(generator.preview(state)[0])
    assert (made["tok_clip@16"] >= 0).all() and (made["tok_rgb@16"] == -1).all()


def test_what_is_forbidden_is_said(generator: FourMGenerator, requests: list[TokenRequest]) -> None:
    state = generator.begin(requests[:1])
    with pytest.raises(GenerationError, match="encoder has to be full"):
        generator.advance(state, [{"encoder": "reuse"}])
    for _ in range(3):
        state = generator.advance(state, [{}])
    with pytest.raises(GenerationError, match="makes all that is left"):
        generator.advance(state, [{"prune_ratio": 0.5}])
    state = generator.advance(state, [{}])
    # The finished target joined the conditions: the pass without them saw too much.
    assert not generator.allowed(state, [{"encoder": "reuse"}])[0, 0]
    assert generator.allowed(state, [{"encoder": "reuse", "guidance": False}])[0, 0]


def test_incremental_encoding_of_everything_new_is_full_encoding(
    generator: FourMGenerator, requests: list[TokenRequest]
) -> None:
    """With one block in the encoder nothing of the older tokens changes: it is exact there."""
    model = random_model(CAPTION, PIXELS, CLIP, RGB, encoder_depth=1)
    shallow = FourMGenerator(model, CHAIN)
    state = shallow.advance(shallow.begin(requests), [{}] * len(requests))
    rows = state.rows
    stepper = shallow.stepper
    full = [shallow.decision_space.complete({})] * len(rows)
    some = [shallow.decision_space.complete({"encoder": "incremental"})] * len(rows)
    exact, quick = stepper.advance(rows, full), stepper.advance(rows, some)
    for one, other in zip(exact, quick, strict=True):
        encoded, kept = one.branches[0], other.branches[0]
        assert encoded is not None and kept is not None
        order = encoded.sites.argsort(), kept.sites.argsort()
        assert torch.equal(encoded.sites[order[0]], kept.sites[order[1]])
        for part in (0, 1):
            a = encoded.encoder[0][part][:, :, order[0]]
            b = kept.encoder[0][part][:, :, order[1]]
            torch.testing.assert_close(a, b)


def test_requests_and_tasks_that_do_not_fit(requests: list[TokenRequest]) -> None:
    model = random_model(CAPTION, PIXELS, CLIP, RGB)
    generator = FourMGenerator(model, CHAIN)
    with pytest.raises(DataError, match="rgb@16"):
        generator.begin([TokenRequest("no picture", {"caption": caption(4)})])
    with pytest.raises(ConfigError, match="text"):
        FourMGenerator(
            model,
            Task.from_values(
                {"target_domains": "caption", "autoregression_schemes": "autoregressive"}
            ),
        )
    with pytest.raises(ConfigError, match="tok_depth@224"):
        FourMGenerator(model, Task.from_values({"target_domains": "tok_depth@224"}))
    other = FourMGenerator(model, Task.from_values({**vars(CHAIN), "temps": [1.5, 0.8]}))
    assert other.fingerprint != generator.fingerprint
