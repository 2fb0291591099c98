"""Which request comes next: a seeded order that is a pure function of (seed, number of draws).

So the whole position is two numbers, and a run that resumes draws what it would have drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_ORDER, _EPISODE = 0, 1  # separate streams of one seed


@dataclass(frozen=True)
class Draw:
    """One episode to be: number of the request in the list, its seed, the preference weight."""

    index: int
    seed: int
    preference: float


class RequestOrder:
    """Draws requests: each epoch visits every request once, in a new permutation.

    Args:
        requests: N requests.
        preference: the weight w, or the range (low, high) from which it is drawn per episode.
        fresh_seeds: give each episode a new seed instead of the request's own.
        shuffle: permute; otherwise in the order given, again and again.
    """

    def __init__(
        self,
        requests: Sequence[Any],
        preference: float | tuple[float, float],
        *,
        fresh_seeds: bool,
        shuffle: bool,
    ):
        self.requests = requests
        low, high = preference if isinstance(preference, tuple) else (preference, preference)
        self.low, self.high = float(low), float(high)
        self.fresh_seeds = fresh_seeds
        self.shuffle = shuffle
        self.seed: int | None = None
        self.draws = 0
        self._epoch: tuple[int, int] | None = None  # (seed, epoch) of the permutation held
        self._permutation = np.arange(len(requests))

    def restart(self, seed: int, draws: int = 0) -> None:
        """Begin the order of this seed, after that many draws."""
        self.seed, self.draws = seed, draws

    def draw(self) -> Draw:
        """The next episode."""
        if self.seed is None:
            raise RuntimeError("restart(seed) comes before the first draw")
        epoch, position = divmod(self.draws, len(self.requests))
        if self.shuffle and self._epoch != (self.seed, epoch):
            self._epoch = (self.seed, epoch)
            stream = np.random.default_rng((self.seed, _ORDER, epoch))
            self._permutation = stream.permutation(len(self.requests))
        index = int(self._permutation[position])
        stream = np.random.default_rng((self.seed, _EPISODE, self.draws))
        weight = self.low + (self.high - self.low) * float(stream.random())
        seed = int(stream.integers(2**31)) if self.fresh_seeds else int(self.requests[index].seed)
        self.draws += 1
        return Draw(index, seed, weight)
