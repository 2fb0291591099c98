"""A state names the frames that were shown; the tracker is a function of them."""

from dataclasses import replace

import numpy as np
import pytest

from base.errors import DataError
from envs.replay import replay
from sign_backend.generator import SignGenerator
from sign_backend.keypoint_cost import KeypointCost
from sign_backend.live_tracking import LiveTracking
from sign_backend.request import SignClip, SignRequest
from tests.envs import protocol_checks
from tests.sign_backend.sign_clips import small_model

COST = KeypointCost(read_ms=1.0, motion_ms=0.5, track_ms=30.0, flops_per_ms=1e7)


class RememberingTracker:
    """Its keypoints are a running mean of all frames that it was ever shown."""

    def __init__(self, opened):
        self.seen, self.opened = [], opened
        opened.append(self)

    def track(self, frames):
        points = []
        for frame in frames:
            self.seen.append(float(frame.mean()))
            spread = np.linspace(0, 1, 225).reshape(75, 3)
            points.append(spread * (1 + np.mean(self.seen) / 255) + len(self.seen) / 100)
        return np.stack(points)

    def close(self):
        self.opened.remove(self)


class Source:
    """Stands for `MediaPipeSource`."""

    pose_model = "none"

    def __init__(self):
        self.opened, self.made = [], 0

    def tracker(self):
        self.made += 1
        return RememberingTracker(self.opened)

    def close(self):
        self.opened.clear()


def request(index: int, frames: int) -> SignRequest:
    pictures = np.random.default_rng(index).integers(0, 255, (frames, 4, 6, 3), dtype=np.uint8)
    motion = np.zeros((frames, 2), np.float32)
    return SignRequest(SignClip(f"c{index}", f"c{index}", motion, 4, 6, None, lambda: pictures))


REQUESTS = [request(0, 21), request(1, 8), request(2, 30), request(3, 17)]


def make(source):
    return SignGenerator(small_model(), LiveTracking(source), max_frames=32, cost=COST)


def test_follows_the_protocol_though_the_tracker_has_a_memory():
    protocol_checks.check_generator(make(Source()), REQUESTS, seeds_matter=False)


def test_one_tracker_serves_a_clip_and_a_fork_is_shown_its_frames_again():
    source = Source()
    generator = make(source)
    state, _ = replay(generator, REQUESTS[:1], [[{"prune_ratio": 0.5}] * 3])
    assert source.made == 1
    early = generator.advance(generator.begin(REQUESTS[:1]), [{"prune_ratio": 0.5}])
    assert source.made == 2
    for ratio in (0.5, 0.75):  # the second one finds its tracker gone on
        generator.advance(early, [{"prune_ratio": ratio}])
    assert source.made == 3
    assert list(state.rows[0].kept) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


def test_no_more_trackers_than_can_be_held():
    source = Source()
    generator = make(source)
    for index in range(40):
        generator.advance(generator.begin([request(index, 9)]), [{}])
    assert len(source.opened) <= 16
    generator.tracking.close()
    assert not source.opened


def test_a_clip_without_frames_is_named():
    bare = SignRequest(SignClip("bare", "bare", np.zeros((9, 2), np.float32), 4, 6))
    generator = make(Source())
    with pytest.raises(DataError, match="bare has keypoints, but no frames"):
        generator.advance(generator.begin([bare]), [{}])


def test_frames_of_a_whole_batch_are_read_once():
    reads = []

    def reading(index: int) -> SignRequest:
        plain = request(index, 30)
        again = lambda: reads.append(index) or plain.clip.frames()  # noqa: E731
        return SignRequest(replace(plain.clip, frames=again))

    batch = [reading(index) for index in range(12)]
    replay(make(Source()), batch, [[{"prune_ratio": 0.5}] * 4] * 12)
    assert reads == list(range(12))


def test_what_is_forgotten_is_shown_again():
    source = Source()
    tracking = LiveTracking(source)
    clip = request(0, 6)
    points = tracking.look(clip, (), np.zeros((0, 75, 3)), [0, 1])
    tracking.forget()
    assert not source.opened
    again = tracking.look(clip, (0, 1), points, [2])
    whole = LiveTracking(Source()).look(clip, (), np.zeros((0, 75, 3)), [0, 1, 2])
    np.testing.assert_array_equal(again, whole[2:])
