"""A folder of clips through tracker and model into a folder of embeddings.

Run as `python -m sign_backend.predict CHECKPOINT VIDEOS OUT --embedding_kind KIND`;
`prunegym embed` is the same.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

import numpy as np

from base.errors import DataError
from sign_backend.checkpoint import SignModel
from sign_backend.clip import Keypoints, KeypointSource
from sign_backend.dataset import Clip
from sign_backend.embed import Aspect, embed, prepare
from sign_backend.postprocess import body_was_found
from sign_backend.results import ResultFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictSettings:
    """What is computed, and how.

    Attributes:
        kind: of embedding, as `embed` takes it.
        language: index of the training language.
        aspect: as `prepare` takes it.
        parity: as the original, with its padding, its divisions by zero, and arrays also for clips
            with nobody in them.
        batch_size: with `parity`, the clips that are padded to one batch. Else a clip is computed
            by itself, and this changes nothing.
        workers: clips that are looked at by a tracker at once.
    """

    kind: str
    language: int = 0
    aspect: Aspect = "checkpoint"
    parity: bool = False
    batch_size: int = 64
    workers: int = 1


def predict(
    model: SignModel,
    source: KeypointSource,
    clips: Sequence[Clip],
    results: ResultFolder,
    settings: PredictSettings,
    on_clip: Callable[[Clip], bool] = lambda clip: True,
) -> None:
    """Make the arrays that are not there yet. A clip that fails never stops the others.

    Args:
        model: as `load_checkpoint` gives it.
        source: of keypoints.
        clips: all of them, in order; with `parity` the batches follow it.
        results: where arrays and reasons go.
        settings: what is computed.
        on_clip: told after each clip that was looked at; answers whether to go on.

    Raises:
        ConfigError: an unknown kind or language, or an aspect ratio that nobody knows.
        ResourceError: no keypoints can be had here.
    """
    for batch in batches_to_do(clips, results, settings):
        found: list[tuple[Clip, Keypoints]] = []
        for clip, future in extract_all(source, batch, settings.workers):
            keypoints = _keypoints(future, clip, results, settings)
            if keypoints is not None:
                found.append((clip, keypoints))
            if not settings.parity:
                _embed_into(model, found, results, settings)
                found = []
            if not on_clip(clip):
                return
        _embed_into(model, found, results, settings)


def extract_all(
    source: KeypointSource, clips: Sequence[Clip], workers: int
) -> Iterator[tuple[Clip, Future[Keypoints]]]:
    """Keypoints of the clips as they are found, `workers` clips at a time, few of them ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting, running = iter(clips), dict[Future[Keypoints], Clip]()
        try:
            while True:
                for clip in islice(waiting, 2 * workers - len(running)):
                    running[pool.submit(source.extract, clip.path)] = clip
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future
        finally:
            for future in running:
                future.cancel()


def batches_to_do(
    clips: Sequence[Clip], results: ResultFolder, settings: PredictSettings
) -> Iterator[list[Clip]]:
    """What has no array yet; those of a padded batch depend on each other: all or none."""
    if not settings.parity:
        yield [clip for clip in clips if not results.is_done(clip)]
        return
    for first in range(0, len(clips), settings.batch_size):
        batch = list(clips[first : first + settings.batch_size])
        if not all(results.is_done(clip) for clip in batch):
            yield batch


def _keypoints(
    future: Future[Keypoints], clip: Clip, results: ResultFolder, settings: PredictSettings
) -> Keypoints | None:
    """What was found; None, with the reason among the results, where that is of no use."""
    try:
        keypoints = future.result()
    except DataError as error:
        results.fail(clip, str(error).removeprefix(f"{clip.path}: "))
        return None
    frames = len(keypoints.points)
    if body_was_found(keypoints.points):
        return keypoints
    if settings.parity and frames:
        logger.warning("%s: no person found in any of %d frames", clip.path, frames)
        return keypoints
    results.fail(clip, f"no person found in any of {frames} frames" if frames else "no frames")
    return None


def _embed_into(
    model: SignModel,
    found: Sequence[tuple[Clip, Keypoints]],
    results: ResultFolder,
    settings: PredictSettings,
) -> None:
    if not found:
        return
    inputs = [
        prepare(
            keypoints,
            model.config,
            language=settings.language,
            aspect=settings.aspect,
            parity=settings.parity,
            name=str(clip.path),
        )
        for clip, keypoints in found
    ]
    try:
        arrays = embed(
            model,
            inputs,
            settings.kind,
            language=settings.language,
            reference_padding=settings.parity,
        )
    except (RuntimeError, MemoryError) as error:  # attention over a very long clip
        if "memory" not in str(error).lower():
            raise
        frames = sum(len(each) for each in inputs)
        for clip, _ in found:
            results.fail(clip, f"not enough memory for {len(found)} clips with {frames} frames")
        return
    for (clip, keypoints), values in zip(found, arrays, strict=True):
        if np.isfinite(values).all():
            results.add(clip, keypoints, values)
        else:
            bad = int((~np.isfinite(values)).sum())
            results.fail(clip, f"{bad} of {values.size} values of its result are not finite")


if __name__ == "__main__":
    import sys

    from prunegym import main

    raise SystemExit(main(["embed", *sys.argv[1:]]))
