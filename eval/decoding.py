"""Files become pixels a few at a time: by several threads, ahead of time, in bounded memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import NamedTuple

from eval.comparison import Comparison
from eval.images import Decoded, claimed_pixels, decode

_PIXELS_AT_ONCE = 2**26  # in all folders; twice as many are in memory while others are decoded


class Batch(NamedTuple):
    """Some keys, and their images by folder; None where a folder has none."""

    keys: Sequence[str]
    images: dict[str, list[Decoded | None]]


def decoded_batches(
    comparison: Comparison, alpha: str, batch_size: int, workers: int, first: int = 0
) -> Iterator[Batch]:
    """Decode all images in the order of the keys; while a batch is in use the next is decoded.

    Args:
        comparison: whose images.
        alpha: what happens to transparency.
        batch_size: keys in a batch; fewer where images are large.
        workers: threads that decode.
        first: how many keys to leave out at the beginning.
    """
    with ThreadPoolExecutor(workers) as pool:
        ahead = None
        for keys in _chosen_keys(comparison, batch_size, pool, first):
            coming = keys, _submit(comparison, keys, alpha, pool)
            if ahead:
                yield _wait(*ahead)
            ahead = coming
        if ahead:
            yield _wait(*ahead)


def _submit(
    comparison: Comparison, keys: Sequence[str], alpha: str, pool: Executor
) -> dict[str, list[Future[Decoded] | None]]:
    return {
        name: [
            pool.submit(decode, folder.images[key], alpha) if key in folder.images else None
            for key in keys
        ]
        for name, folder in comparison.folders.items()
    }


def _wait(keys: Sequence[str], futures: dict[str, list[Future[Decoded] | None]]) -> Batch:
    return Batch(
        keys,
        {
            name: [future.result() if future else None for future in own]
            for name, own in futures.items()
        },
    )


def _chosen_keys(
    comparison: Comparison, batch_size: int, pool: Executor, first: int
) -> Iterator[Sequence[str]]:
    """The next keys, as many as `batch_size` and the memory for their pixels allow."""
    for start in range(first, len(comparison.keys), batch_size):
        keys = comparison.keys[start : start + batch_size]
        files = [
            [folder.images[key] for folder in comparison.folders.values() if key in folder.images]
            for key in keys
        ]
        pixels = list(pool.map(lambda paths: sum(map(claimed_pixels, paths)), files))
        begin, total = 0, 0
        for index, count in enumerate(pixels):
            if index > begin and total + count > _PIXELS_AT_ONCE:
                yield keys[begin:index]
                begin, total = index, 0
            total += count
        yield keys[begin:]
