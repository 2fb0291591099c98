"""Clips of the synthetic signers as requests of `sign_backend.generator`."""

import zlib
from functools import partial

from base.errors import DataError
from sign_backend.request import Frames, SignClip, SignRequest
from signers.clips import SPLITS, Split, make_clip
from signers.drawing import HEIGHT, WIDTH, frames
from signers.gestures import GESTURES
from signers.keypoints import Recording, load_recordings


def prompts(split: Split, count: int) -> list[tuple[str, str]]:
    """The first clips of a split: what `read_request` takes, and the gesture.

    Raises:
        DataError: there are not that many.
    """
    recordings = load_recordings(split)
    if count > len(recordings):
        raise DataError(f"{count} clips of {split}; there are {len(recordings)}")
    return [(f"signer {split} {r.number}", GESTURES[r.gesture]) for r in recordings[:count]]


def read_request(prompt: str, seed: int = 0) -> SignRequest:
    """The clip that a prompt such as `signer train 12` names.

    Raises:
        DataError: there is no such clip.
    """
    word, _, rest = prompt.partition(" ")
    split, _, number = rest.partition(" ")
    if word != "signer" or split not in SPLITS or not (number.isascii() and number.isdigit()):
        raise DataError(f"prompt {prompt!r}; expected 'signer SPLIT NUMBER', as 'signer train 12'")
    recordings = load_recordings(split)
    if int(number) >= len(recordings):
        raise DataError(f"prompt {prompt!r}: {split} has {len(recordings)} clips, from 0 on")
    return SignRequest(_clip(split, recordings[int(number)]), seed)


def gesture_of(request: SignRequest) -> int:
    """The label of a clip, 0 to 19."""
    _, split, number = request.clip.name.split(" ")
    return load_recordings(split)[int(number)].gesture  # type: ignore[arg-type]


def _clip(split: Split, recording: Recording) -> SignClip:
    content = zlib.crc32(recording.keypoints.points.tobytes())
    return SignClip(
        name=f"signer {split} {recording.number}",
        content=f"signer {split} {recording.number} {content:08x}",
        motion=recording.motion,
        height=HEIGHT,
        width=WIDTH,
        keypoints=recording.keypoints,
        frames=partial(_draw, split, recording.number),
    )


def _draw(split: Split, number: int) -> Frames:
    return frames(make_clip(split, number))
