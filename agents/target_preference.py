"""The weight at which a policy of a range reaches a target: a saving, or a level of fidelity.

More weight on compute saves more and keeps less, so the weight is found by bisection, on
calibration requests. What was measured on the way is kept beside the policy, under all that it
depends on: a second target, or the same one again, costs little or nothing.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.evaluation import evaluate_controller
from agents.policy_controller import PolicyController
from base.errors import ConfigError, DataError
from base.files import read_json, write_json
from envs.generator import Generator
from envs.preference import between
from envs.references import ReferenceCache

logger = logging.getLogger(__name__)
NAME = "calibration.json"
_HALVINGS = 7  # then the weight is known to a hundredth of the range


@dataclass(frozen=True)
class Target:
    """A mean over requests that is to be reached.

    Attributes:
        figure: `saved`, or a fidelity figure, such as `ssim`.
        at_least: what it must be.
    """

    figure: str
    at_least: float

    def met(self, means: Mapping[str, float]) -> bool:
        """Whether these means reach it."""
        return means[self.figure] >= self.at_least


def find_preference(
    measure: Callable[[float], Mapping[str, float]], low: float, high: float, target: Target
) -> float:
    """The weight that just reaches the target.

    A saving is reached from some weight on: the smallest such weight keeps the most fidelity. A
    fidelity is reached up to some weight: the largest one saves the most.

    Args:
        measure: gives the mean of every figure at a weight.
        low: the smallest weight.
        high: the largest.
        target: see there.

    Raises:
        ConfigError: the target is not reached at any weight.
    """
    saves = target.figure == "saved"
    reached, short = (1.0, 0.0) if saves else (0.0, 1.0)  # places between low and high
    best = measure(between(low, high, reached))
    if target.figure not in best:
        raise ConfigError(f"there is no figure {target.figure!r}; expected one of {sorted(best)}")
    if not target.met(best):
        raise ConfigError(
            f"this policy does not reach {target.figure} {target.at_least:g}: over the weights "
            f"from {low:g} to {high:g} that it was trained for, the most is "
            f"{best[target.figure]:.4g}. Ask for less, or train for other weights"
        )
    if target.met(measure(between(low, high, short))):
        return between(low, high, short)
    for _ in range(_HALVINGS):
        middle = (reached + short) / 2
        if target.met(measure(between(low, high, middle))):
            reached = middle
        else:
            short = middle
    return between(low, high, reached)


class Calibration:
    """What a policy does on calibration requests at some weights: measured once and kept.

    Args:
        policy: of a range of weights.
        folder: where its file is, or its run; gets `calibration.json`.
        generator: what is controlled.
        requests: not those that are going to be generated, or a target would be met by chance.
        reference_cache: has or makes the references.
    """

    def __init__(
        self,
        policy: PolicyController,
        folder: Path,
        generator: Generator,
        requests: Sequence[Any],
        reference_cache: ReferenceCache,
    ):
        self.policy, self.generator = policy, generator
        self.requests, self.references = requests, reference_cache
        self._path = folder / NAME
        keys = "\n".join(request.key for request in requests)
        digest = hashlib.sha256(keys.encode()).hexdigest()[:16]
        self._key = f"{generator.fingerprint}, {policy.identity}, {len(requests)} x {digest}"

    def preference_for(self, target: Target) -> float:
        """The weight that just reaches a target.

        Raises:
            ConfigError: it is not reached at any weight that the policy was trained for.
        """
        return find_preference(self.means, *self.policy.preference_range, target)

    def means(self, preference: float) -> Mapping[str, float]:
        """The mean of every figure at a weight."""
        known = self._read()
        measured = known.setdefault(self._key, {})
        if repr(preference) not in measured:
            evaluation = evaluate_controller(
                self.generator,
                self.policy.at(preference),
                self.requests,
                self.references,
                preference,
            )
            measured[repr(preference)] = evaluation.means
            try:
                write_json(self._path, known)
            except OSError as error:
                logger.warning("the calibration is not kept: %s", error)
        return measured[repr(preference)]

    def _read(self) -> dict[str, dict[str, dict[str, float]]]:
        if not self._path.is_file():
            return {}
        try:
            found = read_json(self._path)
        except DataError as error:
            logger.warning("%s; it is made again", error)
            return {}
        return found if isinstance(found, dict) else {}
