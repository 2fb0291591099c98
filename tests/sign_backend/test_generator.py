"""Frame skipping follows the protocol, and looking at everything is the plain pipeline."""

import numpy as np
import pytest

from base.decisions import SKIP
from base.errors import ConfigError, DataError, GenerationError
from envs.replay import replay
from sign_backend.cost import poseformer_flops
from sign_backend.embed import embed, prepare
from sign_backend.generator import SignGenerator
from sign_backend.keypoint_cost import KeypointCost
from sign_backend.request import SignClip, SignRequest
from sign_backend.tracking_loss import TrackingLoss
from tests.envs import protocol_checks
from tests.sign_backend.sign_clips import made_up_request, small_model

COST = KeypointCost(read_ms=1.0, motion_ms=0.5, track_ms=30.0, flops_per_ms=1e7)
REQUESTS = [made_up_request(index, frames, seed=3) for index, frames in enumerate((21, 8, 30, 17))]
NEVER, ALWAYS = TrackingLoss((-99.0, 0, 0, 0, 0, 0)), TrackingLoss((99.0, 0, 0, 0, 0, 0))


@pytest.fixture(scope="module")
def generator():
    loss = TrackingLoss((2.0, -1.0, -1.0, -1.0, 0.2, 0.0))
    return SignGenerator(small_model(), loss, max_frames=32, cost=COST)


def test_follows_the_protocol(generator):
    protocol_checks.check_generator(generator, REQUESTS, seeds_matter=False)


@pytest.mark.parametrize("kind", ["CLS", "spatial", "temporal", "logits"])
def test_looking_at_everything_is_embed_exactly(kind):
    generator = SignGenerator(small_model(), NEVER, kind=kind, max_frames=32, cost=COST)
    full = [[{"prune_ratio": 0.0}] * len(generator.stages(request)) for request in REQUESTS]
    outputs = generator.finish(replay(generator, REQUESTS, full)[0])
    inputs = [prepare(request.clip.keypoints, generator.model.config) for request in REQUESTS]
    for output, expected in zip(outputs, embed(generator.model, inputs, kind), strict=True):
        np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize(
    ("ratio", "looked_at"),
    [
        (0.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (0.5, [0, 2, 4, 6]),
        (0.625, [0, 2, 5]),
        (0.75, [0, 4]),
        (0.875, [0]),
        (0.99, [0]),
    ],
)
def test_frames_that_are_looked_at_are_evenly_spaced(generator, ratio, looked_at):
    state = generator.advance(generator.begin(REQUESTS[:1]), [{"prune_ratio": ratio}])
    assert list(state.rows[0].kept) == looked_at
    cost = generator.cost(generator.begin(REQUESTS[:1]), [{"prune_ratio": ratio}])
    assert cost[0] == pytest.approx(len(looked_at) * COST.track_flops)


def test_the_last_window_may_be_short_and_a_skipped_one_costs_nothing(generator):
    state = generator.begin(REQUESTS[:1])  # 21 frames: windows of 8, 8 and 5
    state = generator.advance(state, [{}])
    assert generator.cost(state, [{"prune_ratio": SKIP}])[0] == 0
    state = generator.advance(state, [{"prune_ratio": SKIP}])
    state = generator.advance(state, [{"prune_ratio": 0.5}])
    assert state.done.all()
    assert list(state.rows[0].kept) == [*range(8), 16, 18]


def test_frames_that_nobody_looked_at_are_left_to_the_imputation(generator):
    state, _ = replay(generator, REQUESTS[:1], [[{"prune_ratio": 0.75}] * 3])
    keypoints = generator.keypoints(state.rows[0])
    looked = ~np.isnan(keypoints.points[:, 0, 0])
    assert np.flatnonzero(looked).tolist() == [0, 4, 8, 12, 16]
    expected = embed(generator.model, [prepare(keypoints, generator.model.config)], "CLS")[0]
    np.testing.assert_array_equal(generator.finish(state)[0], expected)


def test_the_first_window_cannot_be_skipped(generator):
    with pytest.raises(GenerationError, match="clip 0: the first window"):
        generator.advance(generator.begin(REQUESTS[:1]), [{"prune_ratio": SKIP}])


def test_what_is_paid_anyhow(generator):
    request = REQUESTS[0]
    paid = 21 * 1.5 * 1e7 + poseformer_flops(generator.model.config, 21)
    assert generator.fixed_cost(request) == pytest.approx(paid)


def test_hands_are_lost_after_gaps_only_and_luck_belongs_to_the_seed():
    sure, never = (
        SignGenerator(small_model(), t, max_frames=32, cost=COST) for t in (ALWAYS, NEVER)
    )
    full = REQUESTS[0].clip.keypoints.points
    half = [[{"prune_ratio": 0.5}] * 3]
    kept = replay(sure, REQUESTS[:1], half)[0].rows[0]
    np.testing.assert_array_equal(kept.points, full[list(kept.kept)])
    lost = replay(never, REQUESTS[:1], half)[0].rows[0]
    assert np.isnan(lost.points[1:, 33:]).all()
    assert not np.isnan(lost.points[:, :33]).any()
    assert not np.isnan(lost.points[0, 54:]).any(), "the first look of all loses nothing"
    chance = SignGenerator(small_model(), TrackingLoss((0.0,) * 6), max_frames=32, cost=COST)
    runs = [
        replay(chance, [REQUESTS[0].with_seed(seed)], half)[0].rows[0].points for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (np.isnan(runs[0]) != np.isnan(runs[2])).any()


def test_features_tell_motion_to_come_and_age_of_the_last_look(generator):
    request = REQUESTS[0]
    state = generator.advance(generator.begin([request]), [{"prune_ratio": 0.875}])
    row = dict(zip(generator.feature_names, generator.features(state)[0], strict=True))
    assert row["motion_mean"] == pytest.approx(50 * request.clip.motion[8:16, 0].mean(), rel=1e-5)
    mean, peak = request.clip.motion.T
    for quarter in range(4):
        most = 10 * peak[8 + 2 * quarter : 10 + 2 * quarter].max()
        assert row[f"motion_peak_quarter_{quarter + 1}"] == pytest.approx(most, rel=1e-5)
    assert row["motion_peak_before"] == pytest.approx(10 * peak[:8].max(), rel=1e-5)
    assert row["motion_peak_after"] == pytest.approx(10 * peak[16:24].max(), rel=1e-5)
    assert row["motion_peak_second_after"] == 0, "the clip is over by then"
    assert row["motion_moved"] == pytest.approx(peak[:8].sum() / peak.sum(), rel=1e-5)
    assert row["motion_moves"] == pytest.approx(peak[8:16].sum() / peak.sum(), rel=1e-5)
    assert row["motion_since_look"] == pytest.approx(50 / 8 * mean[1:8].sum(), rel=1e-5)
    assert row["progress"] == pytest.approx(8 / request.clip.num_frames)
    assert row["looked_share"] == pytest.approx(1 / 8)
    assert row["frames_since_look"] == pytest.approx(7 / 8)
    assert row["looked_share_before"] == pytest.approx(1 / 8)
    assert row["left_age"] == row["right_age"] == pytest.approx(7 / 8)


def test_a_clip_that_cannot_be_taken_is_named(generator):
    with pytest.raises(ConfigError, match="clip 9 has 40 frames; expected 1 to 32"):
        generator.begin([made_up_request(9, 40)])
    nothing = SignRequest(SignClip("bare", "bare", np.zeros((9, 2), np.float32), 48, 64))
    with pytest.raises(DataError, match="bare has no keypoints"):
        generator.advance(generator.begin([nothing]), [{}])


def test_the_fingerprint_tells_settings_apart(generator):
    others = [
        SignGenerator(
            generator.model, generator.tracking, kind="spatial", max_frames=32, cost=COST
        ),
        SignGenerator(generator.model, NEVER, max_frames=32, cost=COST),
        SignGenerator(generator.model, generator.tracking, window=4, max_frames=32, cost=COST),
    ]
    prints = {generator.fingerprint, *(other.fingerprint for other in others)}
    assert len(prints) == 4
