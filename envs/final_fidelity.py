"""How good final outputs are: measured, or looked up where a generator knows it already.

Glossary: n outputs, images [H, W, 3] uint8.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from base.errors import ConfigError
from envs.generator import Generator
from envs.pictures import ShowsPictures, pictures_of, shows_pictures
from eval.fidelity import fidelity


@runtime_checkable
class KnowsFidelity(Protocol):
    """A generator whose outputs were compared with their references long ago."""

    def known_fidelity(self, outputs: Sequence[Any]) -> dict[str, np.ndarray]:
        """[n] float64 for each figure, the primary one first."""


@runtime_checkable
class HasEmbeddings(Protocol):
    """A generator whose outputs, which are tokens, lie in a space of vectors."""

    def embeddings(self, outputs: Sequence[Any]) -> list[np.ndarray]:
        """One array of floats an output."""


class Scorer(Protocol):
    """A further figure of images, such as LPIPS or CLIP; see `eval.metrics.protocol`."""

    name: str
    higher_is_better: bool
    minimum_side: int

    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """Measure [n, H, W, 3] uint8 images; [n] floats."""


def final_fidelity(
    generator: Generator,
    outputs: Sequence[Any],
    references: Sequence[np.ndarray],
    scorers: Sequence[Scorer] = (),
    labels: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Compare each output of `generator.finish` with its reference, see `eval.fidelity.fidelity`.

    Args:
        generator: made the outputs.
        outputs: n of them.
        references: the same with nothing pruned.
        scorers: further figures, for images of one size; those that refuse it are left out.
        labels: the prompts, for scorers.

    Returns:
        [n] float64 for each figure; the primary one, which rewards rest on, comes first.
    """
    if scorers and not shows_pictures(generator):
        table = isinstance(generator, KnowsFidelity)
        raise ConfigError(
            f"scorers {[scorer.name for scorer in scorers]} look at images; this generator makes "
            f"{generator.output_kind}"
            + (". It has figures of its own: 'prunegym tabulate --metrics ...'" if table else "")
        )
    if isinstance(generator, KnowsFidelity):
        figures = generator.known_fidelity(outputs)
    else:
        figures = measured_fidelity(generator, outputs, references)
    if scorers:
        shown = (pictures_of(generator, each) for each in (outputs, references))
        images, others = (torch.from_numpy(np.stack(each)) for each in shown)
        able = [scorer for scorer in scorers if scorer.minimum_side <= min(images.shape[1:3])]
        figures |= {s.name: s(images, others, labels).double().numpy() for s in able}
    return figures


def measured_fidelity(
    generator: Generator, outputs: Sequence[Any], references: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The figures of the outputs themselves: [n] float64 each.

    Tokens that can be decoded are judged as pictures first; then come their agreement, and their
    distance in the space of their vectors.
    """
    figures: dict[str, np.ndarray] = {}
    if isinstance(generator, ShowsPictures):
        pairs = [pictures_of(generator, each) for each in (outputs, references)]
        figures |= fidelity("image", *pairs)
    figures |= fidelity(generator.output_kind, outputs, references)
    if isinstance(generator, HasEmbeddings):
        pairs = [generator.embeddings(each) for each in (outputs, references)]
        figures |= fidelity("embedding", *pairs)
    return figures


def falling_figures(generator: Generator, scorers: Sequence[Scorer] = ()) -> set[str]:
    """The figures that fall as outputs improve, such as LPIPS: of scorers, and those of a table."""
    known: Sequence[str] = getattr(generator, "falling_figures", ())
    return {*known, *(scorer.name for scorer in scorers if not scorer.higher_is_better)}


def quality(figures: dict[str, np.ndarray], name: str | None, falling: set[str]) -> np.ndarray:
    """[n] the figure that rewards weigh: the more the better.

    Args:
        figures: [n] each, the primary one first.
        name: of the figure; `None`: the primary one. One that falls as outputs improve (LPIPS)
            counts as 1 - its value.
        falling: see `falling_figures`.

    Raises:
        ConfigError: there is no such figure.
    """
    name = next(iter(figures)) if name is None else name
    if name not in figures:
        raise ConfigError(
            f"fidelity is {name!r}; there are the figures {', '.join(figures)}, and those of "
            "scorers that are passed"
        )
    return 1 - figures[name] if name in falling else figures[name]
