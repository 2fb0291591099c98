"""Clips of the synthetic signers as requests of `sign_backend.generator`."""

import zlib
from functools import lru_cache, partial

from base.errors import DataError
from sign_backend.clip import Keypoints
from sign_backend.request import Frames, SignClip, SignRequest
from signers.clips import SPLITS, Split, make_clip
from signers.drawing import HEIGHT, WIDTH, frames
from signers.gestures import GESTURES
from signers.keypoints import load_recordings

LATER_STARTS = 7  # how many frames later versions of a training clip begin, at most


def prompts(split: Split, count: int) -> list[tuple[str, str]]:
    """The first clips of a split: what `read_request` takes, and the gesture.

    Raises:
        DataError: there are not that many.
    """
    recordings, there = load_recordings(split), num_clips(split)
    if count > there:
        raise DataError(f"{count} clips of {split}; there are {there}, ask for at most as many")
    return [
        (f"signer {split} {number}", GESTURES[recordings[number % len(recordings)].gesture])
        for number in range(count)
    ]


def num_clips(split: Split) -> int:
    """How many clips a split has.

    Those of training count eight times: after all of them they come again, each from its second
    frame on, then from its third. Windows fall differently on the movement then, and hands are lost
    elsewhere, so that a policy cannot learn them by heart.
    """
    return num_recordings(split) * (1 + LATER_STARTS if split == "train" else 1)


def num_recordings(split: Split) -> int:
    """How many of them are not the end of another one."""
    return len(load_recordings(split))


def read_request(prompt: str, seed: int = 0) -> SignRequest:
    """The clip that a prompt such as `signer train 12` names.

    Raises:
        DataError: there is no such clip.
    """
    word, _, rest = prompt.partition(" ")
    split, _, number = rest.partition(" ")
    if word != "signer" or split not in SPLITS or not (number.isascii() and number.isdigit()):
        raise DataError(f"prompt {prompt!r}; expected 'signer SPLIT NUMBER', as 'signer train 12'")
    there = num_clips(split)
    if int(number) >= there:
        raise DataError(f"prompt {prompt!r}: {split} has {there} clips, from 0 on")
    return SignRequest(_clip(split, int(number)), seed)


def gesture_of(request: SignRequest) -> int:
    """The label of a clip, 0 to 19."""
    _, split, number = request.clip.name.split(" ")
    recordings = load_recordings(split)  # type: ignore[arg-type]
    return recordings[int(number) % len(recordings)].gesture


def _clip(split: Split, number: int) -> SignClip:
    recordings = load_recordings(split)
    start, place = divmod(number, len(recordings))
    recording = recordings[place]
    points, motion = recording.keypoints.points[start:], recording.motion[start:].copy()
    motion[0] = 0.0  # nothing comes before the first frame
    return SignClip(
        name=f"signer {split} {number}",
        content=f"signer {split} {number} {zlib.crc32(points.tobytes()):08x}",
        motion=motion,
        height=HEIGHT,
        width=WIDTH,
        keypoints=Keypoints(points, HEIGHT, WIDTH),
        frames=partial(_draw, split, place, start),
        source=f"signer {split} {place}",
        first_frame=start,
    )


def _draw(split: Split, number: int, start: int) -> Frames:
    return _drawn(split, number)[start:]


@lru_cache(maxsize=4)  # versions of one clip come together
def _drawn(split: Split, number: int) -> Frames:
    return frames(make_clip(split, number))
