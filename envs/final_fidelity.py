"""How good final outputs are: measured, or looked up where a generator knows it already."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from envs.generator import Generator
from eval.fidelity import fidelity


@runtime_checkable
class KnowsFidelity(Protocol):
    """A generator whose outputs were compared with their references long ago."""

    def known_fidelity(self, outputs: Sequence[Any]) -> dict[str, np.ndarray]:
        """[n] float64 for each figure, the primary one first."""


def final_fidelity(
    generator: Generator, outputs: Sequence[Any], references: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Compare each output of `generator.finish` with its reference, see `eval.fidelity.fidelity`.

    Returns:
        [n] float64 for each figure; the primary one, which rewards rest on, comes first.
    """
    if isinstance(generator, KnowsFidelity):
        return generator.known_fidelity(outputs)
    return fidelity(generator.output_kind, outputs, references)
