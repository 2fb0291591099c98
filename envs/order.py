"""Which request comes next: a seeded order that is a pure function of (seed, number of draws).

So the whole position is two numbers, and a run that resumes draws what it would have drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from base.errors import ConfigError
from envs.generator import Request
from envs.preference import between, check_preference

_ORDER, _EPISODE = 0, 1  # separate streams of one seed


class RequestOrder:
    """Draws requests: each epoch visits every request once, in a new permutation.

    Args:
        requests: N requests with different keys.
        preference_range: (low, high), between which the weight w of an episode is drawn.
        fresh_seeds: give each episode a new seed instead of the request's own.
        shuffle: permute; otherwise in the order given, again and again.
        repeats: draws that follow each other and are the same.

    Raises:
        ConfigError: no requests, or two with one key.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        preference_range: tuple[float, float],
        *,
        fresh_seeds: bool,
        shuffle: bool,
        repeats: int = 1,
    ):
        keys = {request.key for request in requests}
        if not requests or len(keys) != len(requests):
            raise ConfigError(
                f"{len(requests)} requests with {len(keys)} different keys; "
                "expected one or more, each with its own key"
            )
        self.requests = tuple(requests)
        self.low, self.high = preference_range
        self.fresh_seeds = fresh_seeds
        self.shuffle = shuffle
        self.repeats = repeats
        self.seed: int | None = None
        self.draws = 0
        self._epoch: tuple[int, int] | None = None  # (seed, epoch) of the permutation held
        self._permutation = np.arange(len(requests))

    def restart(self, seed: int, draws: int = 0) -> None:
        """Begin the order of this seed, after that many draws."""
        self.seed, self.draws = seed, draws

    def set_preference(self, weight: float) -> None:
        """From now on every episode that is drawn has this weight."""
        self.low = self.high = check_preference(weight)

    def draw(self, option: Mapping[str, Any] | None = None) -> tuple[Any, float]:
        """The request and the preference weight of the next episode.

        Args:
            option: what is chosen instead of drawn: `request` (one, or its number in the list) and
                `preference`.

        Raises:
            ConfigError: an option that cannot be used.
        """
        option = option or {}
        unknown = set(option) - {"request", "preference"}
        if unknown:
            raise ConfigError(
                f"unknown reset option {sorted(unknown)}; expected 'request' and 'preference'"
            )
        request = self._chosen(option.get("request"))
        weight = option.get("preference")
        if weight is not None:
            weight = check_preference(weight)
        drawn, drawn_weight = self._next()
        return drawn if request is None else request, drawn_weight if weight is None else weight

    def _chosen(self, request: Any) -> Any:
        if isinstance(request, (int, np.integer)) and not isinstance(request, bool):
            if not 0 <= request < len(self.requests):
                raise ConfigError(f"request is {request}; expected 0 to {len(self.requests) - 1}")
            return self.requests[request]
        if request is not None and not isinstance(request, Request):
            raise ConfigError(
                f"request is {request!r}; expected a request, or its number in the list"
            )
        return request

    def _next(self) -> tuple[Any, float]:
        if self.seed is None:
            raise RuntimeError("restart(seed) comes before the first draw")
        number = self.draws // self.repeats
        epoch, position = divmod(number, len(self.requests))
        if self.shuffle and self._epoch != (self.seed, epoch):
            self._epoch = (self.seed, epoch)
            stream = np.random.default_rng((self.seed, _ORDER, epoch))
            self._permutation = stream.permutation(len(self.requests))
        request: Any = self.requests[self._permutation[position]]
        weight = self.low
        if self.fresh_seeds or self.low < self.high:  # a stream of its own takes its time
            stream = np.random.default_rng((self.seed, _EPISODE, number))
            weight = between(self.low, self.high, float(stream.random()))
            if self.fresh_seeds:
                request = request.with_seed(int(stream.integers(2**31)))
        self.draws += 1
        return request, weight
