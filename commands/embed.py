"""`prunegym embed`: a folder of sign-language videos to one .npy of embeddings a video.

CHECKPOINT is a SignON checkpoint (.ckpt), or `signers`, the small model that comes with the package
and knows drawn gestures only. VIDEOS is looked through with all folders in it. Written
are OUT/NAME.npy: spatial and temporal [frames, D], CLS [D], probabilities (raw scores; the same as
logits) and softmax [glosses]; and OUT/embeddings.json, which says how. What is there already is not
made again. The exit code is 3 if a video failed; the others are done then.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from sign_backend.kinds import KINDS


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    from signers.clips import MOST_FRAMES

    parser = ArgumentParser(prog="prunegym embed", description=__doc__)
    parser.add_argument("checkpoint", type=str, help=".ckpt, or signers: the small model")
    parser.add_argument("videos", type=str, help="folder of videos, or of folders of frames")
    parser.add_argument("out", type=str, help="folder for the arrays")
    parser.add_argument("--embedding_kind", choices=KINDS, required=True)
    parser.add_argument(
        "--batch_size", type=int, default=64, help="clips padded to one batch with --parity"
    )
    parser.add_argument(
        "--video_file_extension",
        type=str,
        default="mp4",
        help="jpg or png: folders of frames; npy: keypoints that were found before",
    )
    parser.add_argument(
        "--language", "--language_id", type=int, default=0, help="of a multi-language checkpoint"
    )
    parser.add_argument(
        "--aspect_ratio",
        type=str,
        default="checkpoint",
        help="height over width: checkpoint, video (that of each video), or a number",
    )
    parser.add_argument(
        "--parity", action="store_true", help="as the original, with its padding and divisions"
    )
    parser.add_argument("--keep_folders", action="store_true", help="OUT gets the same sub-folders")
    parser.add_argument(
        "--pose-model", type=str, default="full", help="of the tracker: heavy, full or lite"
    )
    parser.add_argument(
        "--controller",
        type=str | None,
        default=None,
        help="which frames the tracker sees: schedule:all:0.5 (every 2nd), policy:RUN_FOLDER@0.3",
    )
    parser.add_argument(
        "--max_frames",
        type=int,
        default=MOST_FRAMES,
        help="with --controller: the longest clip; for a policy that of its generator's name",
    )
    parser.add_argument("--workers", type=int, default=0, help="trackers at once; 0: one a core")
    parser.add_argument("--device", type=str, default="auto", help="of the model")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 3 if a video failed, or 130 if it was interrupted."""
    options = make_parser().parse_args(args)

    from agents.interruption import StopRequest
    from base.errors import DataError
    from base.weight_files import file_hash
    from commands.progress import progress_bar
    from commands.wiring import choose_device
    from sign_backend.dataset import find_clips
    from sign_backend.embed import check_language, ratio_of
    from sign_backend.predict import PredictSettings, batches_to_do, predict
    from sign_backend.pretrained import load_model
    from sign_backend.results import ResultFolder

    settings = PredictSettings(
        kind=options.embedding_kind,
        language=options.language,
        aspect=read_aspect(options.aspect_ratio),
        parity=options.parity,
        batch_size=at_least_one("batch_size", options.batch_size),
        workers=worker_count(options.workers),
    )
    model, weights = load_model(options.checkpoint, choose_device(options.device))
    check_language(model.config, settings.language)
    ratio = ratio_of(model.config, settings.language, settings.aspect)
    clips = find_clips(
        Path(options.videos), options.video_file_extension, keep_folders=options.keep_folders
    )
    made_by: dict[str, Any] = {
        "checkpoint": file_hash(weights),
        "kind": settings.kind,
        "language": settings.language,
        "aspect_ratio": "video" if ratio is None else ratio,
        "parity": settings.parity,
    }
    if settings.parity:
        made_by["batch_size"] = settings.batch_size
    with (
        keypoint_source(options, model, ratio) as (source, tracker),
        ResultFolder(options.out, made_by | {"tracker": tracker}) as results,
        StopRequest("finishing the videos that are being looked at") as stop,
        progress_bar() as bar,
    ):
        to_do = sum(len(batch) for batch in batches_to_do(clips, results, settings))
        task = bar.add_task("videos", total=len(clips), completed=len(clips) - to_do, note="")

        def on_clip(clip: Any) -> bool:
            bar.advance(task)
            failures = len(results.failed)
            bar.update(task, note=clip.name + (f" ({failures} failed)" if failures else ""))
            return not stop.requested

        predict(model, source, clips, results, settings, on_clip)
    left = [clip for clip in clips if not results.is_done(clip) and clip.name not in results.failed]
    print(f"{len(clips) - len(left) - len(results.failed)} of {len(clips)} videos in {options.out}")
    for what, reasons in (("failed", results.failed), ("are incomplete", results.incomplete)):
        if reasons:
            print(f"{len(reasons)} {what}:")
            for name, reason in sorted(reasons.items()):
                print(f"  {name}: {reason}")
    if options.controller and source.frames.any():
        print("the tracker saw {} of {} frames".format(*source.frames))
    if left:
        print(f"stopped on request with {len(left)} to go; the same command goes on")
        return 130
    return DataError.exit_code if results.failed else 0


def read_aspect(text: str) -> Any:
    """`checkpoint`, `video`, or a number."""
    from base.errors import ConfigError

    if text in ("checkpoint", "video"):
        return text
    with contextlib.suppress(ValueError):
        ratio = float(text)
        if 0.05 < ratio < 20:
            return ratio
    raise ConfigError(
        f"--aspect_ratio {text!r}; expected checkpoint, video, or height over width as a number"
    )


def at_least_one(name: str, value: int) -> int:
    """The value, if it can be a count."""
    from base.errors import ConfigError

    if value < 1:
        raise ConfigError(f"--{name} is {value}; expected a whole number from 1")
    return value


def worker_count(asked: int) -> int:
    """How many trackers run at once."""
    import os

    if asked == 0:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return at_least_one("workers", asked)


@contextlib.contextmanager
def keypoint_source(options: Any, model: Any, ratio: float | None) -> Iterator[tuple[Any, str]]:
    """Where keypoints come from, and what to call it in the record."""
    from base.errors import ConfigError

    if options.video_file_extension.lstrip(".").lower() == "npy":
        from sign_backend.keypoint_files import KeypointFiles

        if ratio is None:
            raise ConfigError(
                "files with keypoints do not say how large the frames were; pass --aspect_ratio "
                "with height over width (0.5625 for 16:9)"
            )
        if options.controller:
            raise ConfigError("--controller decides what a tracker sees; keypoints are there here")
        yield KeypointFiles(), "keypoint files"
        return
    from sign_backend.mediapipe_source import MediaPipeSource

    sharpen = model.config.sharpen_sigma
    tracker = f"MediaPipe Holistic, {options.pose_model}"
    source: Any
    if options.controller:
        from commands.controlled_keypoints import ControlledKeypoints

        if sharpen is not None:
            raise ConfigError(
                "--controller: this checkpoint wants sharpened frames, which only a "
                "run over all frames makes"
            )
        source = ControlledKeypoints(
            lambda: MediaPipeSource(options.pose_model),
            model,
            options.controller,
            at_least_one("max_frames", options.max_frames),
        )
        tracker += f", {source.controller.identity}"
    else:
        source = MediaPipeSource(options.pose_model, sharpen_sigma=sharpen)
    try:
        yield source, tracker
    finally:
        source.close()
