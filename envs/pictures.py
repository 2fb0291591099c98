"""Outputs as pictures, also those of generators whose outputs are tokens with a decoder at hand."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from base.errors import ConfigError
from envs.generator import Generator


@runtime_checkable
class ShowsPictures(Protocol):
    """A generator that can turn its outputs into pictures."""

    def pictures(self, outputs: Sequence[Any]) -> np.ndarray:
        """uint8 RGB [n, height, width, 3] of outputs of `finish` or `preview`."""


def shows_pictures(generator: Generator) -> bool:
    """Whether `pictures_of` gives anything."""
    return generator.output_kind == "image" or isinstance(generator, ShowsPictures)


def pictures_of(generator: Generator, outputs: Sequence[Any]) -> Any:
    """uint8 RGB [height, width, 3] each.

    Args:
        generator: made the outputs.
        outputs: of `finish` or `preview`.

    Raises:
        ConfigError: what it makes cannot be shown.
    """
    if generator.output_kind == "image":
        return outputs
    if isinstance(generator, ShowsPictures):
        return generator.pictures(outputs)
    raise ConfigError(
        f"this needs images; the generator makes {generator.output_kind}, and has no decoder that "
        "makes images of them"
    )
