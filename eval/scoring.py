"""Measure every image of a comparison, a few at a time; one bad image costs only its own figures.

Memory is that of a few images, whatever the number of files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from base.errors import ConfigError, DataError
from eval.comparison import ORIGINAL, Comparison
from eval.decoding import decoded_batches
from eval.images import ALPHA_RULES, Decoded, resize
from eval.measure import Sample, measure
from eval.metrics.protocol import Metric

OK = "ok"
CHOICES = {
    "alpha": ALPHA_RULES,
    "on_size_mismatch": ("skip", "error", "resize"),
    "resize_filter": ("bilinear", "bicubic", "lanczos"),
    "on_bad_image": ("skip", "error"),
}


@dataclass(frozen=True)
class ScoringSettings:
    """How files become numbers.

    Attributes:
        alpha: `drop` transparency, or lay it over `white` or `black`.
        on_size_mismatch: `skip`, `error`, or `resize` the candidate to the Original's size.
        resize_filter: `bilinear`, `bicubic` or `lanczos`.
        on_bad_image: `skip` or `error`.
        batch_size: images of each folder that are measured at once; fewer where they are large.
        workers: threads that decode.
        device: where metrics run.
    """

    alpha: str = "drop"
    on_size_mismatch: str = "skip"
    resize_filter: str = "bicubic"
    on_bad_image: str = "skip"
    batch_size: int = 32
    workers: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}; expected one of {list(choices)}"
                )
        if min(self.batch_size, self.workers) < 1:
            raise ConfigError(
                f"batch_size is {self.batch_size} and workers {self.workers}; expected 1 or more"
            )


class Score(NamedTuple):
    """What was found of one image in one folder.

    Attributes:
        key: the image.
        folder: `Original` or the candidate.
        status: `ok`, `no_reference`, `no_candidate`, `reference_unreadable`,
            `candidate_unreadable` or `size_mismatch`.
        detail: more about a status that is not ok, or that the image was resized.
        values: by metric; None where it was not computed.
        reasons: why a value is None: the status, `too_small`, `identical` (PSNR), `metric_failed`
            or `not_finite`.
        identical: whether all pixels equal those of the Original; None without a pair.
        file_sha256: hash of the file; empty where there is none.
        has_alpha: whether the file has transparency.
        lossy: whether the file's format changes pixels.
    """

    key: str
    folder: str
    status: str
    detail: str
    values: dict[str, float | None]
    reasons: dict[str, str]
    identical: bool | None
    file_sha256: str
    has_alpha: bool
    lossy: bool


def score_images(
    comparison: Comparison,
    metrics: Sequence[Metric],
    settings: ScoringSettings,
    first: int = 0,
) -> Iterator[list[Score]]:
    """Yield the scores of the next few keys: all folders of a key, then all of the next key.

    While some are measured, the next ones are decoded.

    Args:
        comparison: what is compared.
        metrics: what is measured.
        settings: how.
        first: how many keys to leave out at the beginning.

    Raises:
        DataError: a bad image or a size mismatch, where the settings make those an error.
    """
    batches = decoded_batches(
        comparison, settings.alpha, settings.batch_size, settings.workers, first
    )
    for keys, decoded in batches:
        by_folder = [
            _score_folder(comparison, name, keys, decoded, metrics, settings)
            for name in comparison.folders
        ]
        yield [score for scores in zip(*by_folder, strict=True) for score in scores]


def _score_folder(
    comparison: Comparison,
    folder: str,
    keys: Sequence[str],
    decoded: dict[str, list[Decoded | None]],
    metrics: Sequence[Metric],
    settings: ScoringSettings,
) -> list[Score]:
    scores, samples = [], []
    for key, image, original in zip(keys, decoded[folder], decoded[ORIGINAL], strict=True):
        status, detail = _status(image, original, settings)
        _stop_if_asked(settings, status, f"{folder}, image {key!r}: {detail}")
        pixels = image.pixels if image else None
        reference = original.pixels if original and status == OK and folder != ORIGINAL else None
        if reference is not None and pixels is not None and pixels.shape != reference.shape:
            height, width, _ = reference.shape
            pixels = resize(pixels, height, width, settings.resize_filter)
        sample = Sample(pixels, reference, comparison.prompts[key].text, status)
        samples.append(sample)
        scores.append(
            Score(
                key=key,
                folder=folder,
                status=status,
                detail=detail,
                values=sample.values,  # filled in by `measure`
                reasons=sample.reasons,
                identical=sample.identical,
                file_sha256=image.file_sha256 if image else "",
                has_alpha=bool(image and image.has_alpha),
                lossy=bool(image and image.lossy),
            )
        )
    applicable = [m for m in metrics if folder != ORIGINAL or not m.needs_reference]
    measure(samples, applicable, settings.device)
    return scores


def _status(
    image: Decoded | None, original: Decoded | None, settings: ScoringSettings
) -> tuple[str, str]:
    if original is None:
        return "no_reference", "no such image in the Original folder"
    if image is None:
        return "no_candidate", "no such image in this folder"
    if original.pixels is None:
        return "reference_unreadable", original.problem
    if image.pixels is None:
        return "candidate_unreadable", image.problem
    if image.pixels.shape != original.pixels.shape:
        (height, width, _), (full_height, full_width, _) = image.pixels.shape, original.pixels.shape
        detail = f"{width}x{height} against {full_width}x{full_height} in Original"
        resized = settings.on_size_mismatch == "resize"
        return (OK, f"resized: {detail}") if resized else ("size_mismatch", detail)
    return OK, ""


def _stop_if_asked(settings: ScoringSettings, status: str, text: str) -> None:
    if status == "size_mismatch" and settings.on_size_mismatch == "error":
        raise DataError(f"{text}; pass --on-size-mismatch skip or resize to go on")
    if status.endswith("_unreadable") and settings.on_bad_image == "error":
        raise DataError(f"{text}; pass --on-bad-image skip to go on without it")
