"""Observations of the codes themselves, for CNNs: the predecessor's layouts, and one set right.

Channels, in order, for C channels of codes on the generator's last grid:

| `obs_mode` | channels |
|---|---|
| `v1` | C codes, `progress` |
| `v2` | C zeros, C codes, `progress` |
| `v3` | C codes before the last uncontrolled stage (all episode long), C codes, `progress` |
| `fixed` | C codes before the last stage, C codes, `to_go`, `spent`, `preference` |

`progress` is s / (n - 1) of the stage s that was completed last, 0 before the first one. The zeros
and the frozen codes were meant to be previous codes; `fixed` has those. `to_go` is the share of the
stages that is left. Values are not scaled or clipped.

Glossary: B rows, C channels of codes, (H, W) the grid.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from base.errors import ConfigError
from envs.episode import Episode
from envs.generator import Generator
from envs.observation import Observation, VectorObservation
from envs.reward import check_finite

VECTORS = ("vector", "vector_no_prompt")
OBSERVATIONS = (*VECTORS, "v1", "v2", "v3", "fixed")


def check_shown(mode: str, weights: Sequence[float]) -> None:
    """Do nothing if a policy that sees this can know which of the weights it is asked for.

    Raises:
        ConfigError: several weights, and a mode that shows none.
    """
    if mode in ("v1", "v2", "v3") and min(weights) < max(weights):
        raise ConfigError(
            f"obs_mode {mode!r} does not show the preference, which is drawn from "
            f"{min(weights):g} to {max(weights):g}; give one weight, or use 'vector' or 'fixed'"
        )


@runtime_checkable
class ShowsCodes(Protocol):
    """A generator whose state holds codes on one grid.

    Attributes:
        latent_shape: (C, H, W).
    """

    latent_shape: tuple[int, int, int]

    def latent(self, state: Any) -> tuple[np.ndarray, np.ndarray]:
        """[B, C, H, W] float32 twice: the codes before the last stage, and those now."""


class LatentObservation:
    """Builds observations [B, channels, H, W] in one of the layouts above.

    Args:
        generator: must be one that `ShowsCodes`.
        mode: `v1`, `v2`, `v3` or `fixed`.

    Raises:
        ConfigError: a generator that has no codes to show.
    """

    def __init__(self, generator: Generator, mode: str):
        if not isinstance(generator, ShowsCodes):
            raise ConfigError(
                f"obs_mode {mode!r} shows codes, which this generator does not (it has no "
                "`latent`); use obs_mode='vector'"
            )
        self.generator, self.mode = generator, mode
        channels, *grid = generator.latent_shape
        codes = [f"code_{index}" for index in range(channels)]
        previous = [f"previous_{index}" for index in range(channels)]
        planes = ["to_go", "spent", "preference"] if mode == "fixed" else ["progress"]
        self.names = (*(previous if mode != "v1" else ()), *codes, *planes)
        self.space = spaces.Box(-np.inf, np.inf, (len(self.names), *grid), np.float32)

    def start(self, state: Any, episodes: Sequence[Episode]) -> None:
        """Remember what stays in view: `state` is before the first decision of the episodes."""
        if self.mode == "v3":
            previous, _ = self.generator.latent(state)  # type: ignore[attr-defined]
            for episode, codes in zip(episodes, previous, strict=True):
                episode.first_codes = np.array(codes)

    def build(self, state: Any, episodes: Sequence[Episode]) -> np.ndarray:
        """[B, channels, H, W] float32, new memory at each call.

        Raises:
            GenerationError: codes that are not finite.
        """
        previous, codes = self.generator.latent(state)  # type: ignore[attr-defined]
        labels = [episode.request.label for episode in episodes]
        check_finite("sum of codes", codes.sum((1, 2, 3)), labels, state.stage)
        if self.mode == "v2":
            previous = np.zeros_like(codes)
        if self.mode == "v3":
            previous = np.stack([np.asarray(episode.first_codes) for episode in episodes])
        blocks = [codes] if self.mode == "v1" else [previous, codes]
        numbers = [
            self._numbers(episode, stage)
            for episode, stage in zip(episodes, state.stage, strict=True)
        ]
        planes = np.broadcast_to(
            np.array(numbers, np.float32)[:, :, None, None],
            (len(episodes), len(numbers[0]), *codes.shape[2:]),
        )
        return np.concatenate([*blocks, planes], axis=1, dtype=np.float32)

    def show_preference(self, observations: np.ndarray, weight: float) -> None:
        """Write another weight into the last plane of [B, channels, H, W]; only `fixed` has one."""
        if self.mode == "fixed":
            observations[:, -1] = weight

    def _numbers(self, episode: Episode, stage: int) -> list[float]:
        """The value of each constant plane."""
        count = len(episode.stages)
        if self.mode == "fixed":
            return [1 - stage / count, episode.spent, episode.preference]
        return [max(stage - 1, 0) / max(count - 1, 1)]


def observation_of(generator: Generator, obs_mode: str) -> Observation:
    """How a policy sees this generator under `vector` (or `vector_no_prompt`), or a layout above.

    Raises:
        ConfigError: no such mode, or a generator that has no codes to show.
    """
    if obs_mode not in OBSERVATIONS:
        raise ConfigError(f"obs_mode is {obs_mode!r}; expected one of {', '.join(OBSERVATIONS)}")
    if obs_mode in VECTORS:
        return VectorObservation(generator, prompt=obs_mode == "vector")
    return LatentObservation(generator, obs_mode)
