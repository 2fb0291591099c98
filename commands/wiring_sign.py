"""The part of `commands/wiring.py` that is about signers: generators, clips, videos."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.prompts import PromptRecord
from base.errors import ConfigError, DataError
from envs.generator import Generator

_LOOKING = {"live", "recorded"}


def load_sign(words: Sequence[str], device: str) -> Generator:
    """What follows `sign:`, in any order: how to look, the longest clip in frames, a checkpoint."""
    from sign_backend.generator import SignGenerator, Tracking
    from sign_backend.live_tracking import LiveTracking
    from sign_backend.mediapipe_source import MediaPipeSource
    from sign_backend.pretrained import load_model
    from sign_backend.tracking_loss import TrackingLoss
    from signers.clips import MOST_FRAMES
    from signers.packed_runs import load_tracking

    ways, others = set(words) & _LOOKING, [word for word in words if word not in _LOOKING]
    lengths = [int(word) for word in others if word.isascii() and word.isdigit()]
    files = [word for word in others if not (word.isascii() and word.isdigit())]
    if len(ways) > 1 or len(lengths) > 1 or len(files) > 1 or not all(words):
        raise ConfigError(
            f"generator 'sign:{':'.join(words)}'; expected sign, sign:live or sign:recorded, with "
            "at most one checkpoint and one number of frames behind it: sign:live:NGT.ckpt:300"
        )
    model, _ = load_model(files[0] if files else "signers", device)
    tracking: Tracking = TrackingLoss.load()
    if "live" in ways:
        tracking = LiveTracking(MediaPipeSource())
    elif "recorded" in ways:
        tracking = load_tracking()
    return SignGenerator(model, tracking, max_frames=lengths[0] if lengths else MOST_FRAMES)


def signer_prompts(split: Any, count: int) -> list[tuple[str, str | None]]:
    """The first clips of a split, and their gestures."""
    from signers.requests import prompts

    return list(prompts(split, count))


def video_prompts(text: str, first_seed: int) -> list[PromptRecord]:
    """`FOLDER` or `FOLDER:EXTENSION`."""
    from sign_backend.dataset import find_clips

    folder, _, extension = text.partition(":")
    return [
        PromptRecord(clip.name, str(clip.path), first_seed + number)
        for number, clip in enumerate(find_clips(Path(folder), extension or "mp4"))
    ]


def sign_requests(generator: Any, prompts: Sequence[PromptRecord]) -> list[Any]:
    """Clips of drawn signers by their names; what else is a prompt is a video's path."""
    from sign_backend.live_tracking import LiveTracking
    from sign_backend.mediapipe_source import MediaPipeSource
    from sign_backend.video_request import video_request
    from signers.requests import read_request

    live = isinstance(generator.tracking, LiveTracking)
    source = generator.tracking.source if live else None
    requests = []
    for record in prompts:
        if record.prompt.startswith("signer "):
            requests.append(read_request(record.prompt, record.seed))
            continue
        if not Path(record.prompt).exists():
            raise DataError(
                f"prompt {record.id}: {record.prompt!r}; expected a drawn signer, such as "
                "'signer train 12', or the path of a video"
            )
        source = source or MediaPipeSource()
        requests.append(video_request(Path(record.prompt), record.seed, source, live=live))
    if source is not None and not live:
        source.close()  # its workers hold some hundred MB, and everything is found
    return requests
