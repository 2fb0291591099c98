"""Clips are pure functions of their number; splits share nothing; what is shipped fits them."""

import itertools

import numpy as np
import pytest

from base.errors import DataError
from sign_backend.motion import motion
from signers.clips import CLIPS_PER_SIGNER, MOST_FRAMES, SPLITS, make_clip
from signers.drawing import HEIGHT, WIDTH, frames
from signers.gestures import GESTURES, MOVEMENTS, SHAPES, wrist_path
from signers.keypoints import Recording, load_recordings, save_recordings
from signers.requests import gesture_of, prompts, read_request


def test_there_are_twenty_gestures():
    assert len(GESTURES) == len(set(GESTURES)) == len(SHAPES) * len(MOVEMENTS) == 20


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_each_movement_goes_its_own_way(movement):
    path = wrist_path(movement, np.linspace(0, 1, 50), 1.0)
    assert path.shape == (50, 2)
    across, along = np.ptp(path, axis=0)
    assert {"wave": across > 5 * along, "nod": along > 5 * across}.get(
        movement, min(across, along) > 0.5
    )


def test_a_clip_is_the_same_every_time():
    one, again = make_clip("test", 12), make_clip("test", 12)
    assert one.signer == again.signer and one.gesture == again.gesture
    np.testing.assert_array_equal(one.wrists, again.wrists)


def test_signers_of_different_splits_are_different_people():
    people = {split: {make_clip(split, n).signer for n in range(0, 60, 10)} for split in SPLITS}
    assert not any(people[a] & people[b] for a, b in itertools.combinations(SPLITS, 2))
    assert make_clip("train", 0).signer == make_clip("train", CLIPS_PER_SIGNER - 1).signer
    assert make_clip("train", 0).signer != make_clip("train", CLIPS_PER_SIGNER).signer


def test_lengths_speeds_and_interruptions_vary():
    clips = [make_clip("train", number) for number in range(60)]
    lengths = {len(clip.wrists) for clip in clips}
    assert min(lengths) >= 40 and max(lengths) <= MOST_FRAMES and len(lengths) > 8
    veiled = np.mean([np.isfinite(clip.veil).any() for clip in clips])
    assert 0.15 < veiled < 0.55
    below_the_picture = np.mean([clip.signer.rest[1] > 1.5 for clip in clips[::10]])
    assert 0 < below_the_picture < 1


def test_frames_are_drawn_and_move():
    clip = make_clip("validation", 3)
    pictures = frames(clip)
    assert pictures.shape == (len(clip.wrists), HEIGHT, WIDTH, 3) and pictures.dtype == np.uint8
    moved = motion(pictures)
    assert moved.shape == (len(pictures), 2) and (moved[0] == 0).all()
    assert (moved[:, 1] >= moved[:, 0]).all() and moved.max() <= 1
    speed = np.abs(np.diff(clip.wrists, axis=0)).sum((1, 2))
    assert moved[1:, 1][speed > 0.3].mean() > 3 * moved[1:, 1][speed < 0.05].mean()


def test_shipped_motion_is_that_of_the_drawn_frames():
    number = 3
    shipped = load_recordings("validation")[number]
    clip = make_clip("validation", number)
    assert shipped.gesture == clip.gesture
    np.testing.assert_allclose(motion(frames(clip)), shipped.motion, atol=1e-5)


@pytest.mark.parametrize("split", SPLITS)
def test_shipped_keypoints_are_whole(split):
    recordings = load_recordings(split)
    for recording in recordings:
        assert recording.gesture == make_clip(split, recording.number).gesture
        assert len(recording.motion) == len(make_clip(split, recording.number).wrists)
        body = recording.keypoints.points[:, :33]
        assert np.isfinite(body).all(axis=(1, 2)).mean() > 0.9
    hands = [~np.isnan(r.keypoints.points[:, row, 0]) for r in recordings for row in (33, 54)]
    assert 0.3 < np.concatenate(hands).mean() < 0.9


def test_recordings_come_back_to_a_step(tmp_path):
    shipped = load_recordings("validation")[:3]
    lot = np.random.default_rng(0)
    moved = [
        Recording(r.number, r.gesture, r.keypoints, lot.random(r.motion.shape).astype(np.float32))
        for r in shipped
    ]
    save_recordings("test", moved, tmp_path)
    for one, again in zip(moved, load_recordings("test", tmp_path), strict=True):
        np.testing.assert_allclose(one.keypoints.points, again.keypoints.points, atol=1e-4)
        np.testing.assert_allclose(one.motion, again.motion, atol=1e-5)


def test_what_is_missing_or_damaged_is_said(tmp_path):
    with pytest.raises(DataError, match="train-generator sign"):
        load_recordings("train", tmp_path)
    (tmp_path / "test.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"test\.npz"):
        load_recordings("test", tmp_path)


def test_prompts_name_clips():
    (prompt, gesture), *_ = prompts("test", 5)
    request = read_request(prompt, seed=4)
    assert request.label == prompt == "signer test 0" and request.seed == 4
    assert GESTURES[gesture_of(request)] == gesture
    for wrong in ("signer test", "signer paint 3", "singer test 3", "signer test 99999"):
        with pytest.raises(DataError):
            read_request(wrong)
    with pytest.raises(DataError, match="100000 clips of test; there are"):
        prompts("test", 100_000)


def test_training_clips_come_again_from_later_frames_on():
    whole, later = read_request("signer train 12"), read_request("signer train 1812")
    np.testing.assert_array_equal(later.clip.keypoints.points, whole.clip.keypoints.points[3:])
    np.testing.assert_array_equal(later.clip.motion[1:], whole.clip.motion[4:])
    assert (later.clip.motion[0] == 0).all(), "nothing comes before its first frame"
    np.testing.assert_array_equal(later.clip.frames(), whole.clip.frames()[3:])
    assert later.key != whole.key and gesture_of(later) == gesture_of(whole)
    assert whole.clip.motion[3].any(), "the recording itself is as it was"
    assert len(prompts("train", 4800)) == 4800
    with pytest.raises(DataError, match="4801 clips of train; there are 4800"):
        prompts("train", 4801)
    with pytest.raises(DataError, match="201 clips of test; there are 200"):
        prompts("test", 201)
