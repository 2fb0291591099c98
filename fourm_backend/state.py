"""Generation in the middle, as values. Nothing here is ever changed in place.

A row holds views of what its group computed together; copying a row copies references, so a tree
of decisions shares its prefixes.

Shapes: N encoded tokens, L positions of a target, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from fourm_backend.layers import KeysValues
from fourm_backend.request import TokenRequest

Entry = Mapping[str, Tensor]


@dataclass(frozen=True)
class Encoded:
    """What one branch of one row keeps of the tokens that it encoded.

    Attributes:
        sites: [N] int64, which tokens (modality and position), in their order here.
        encoder: keys and values in each block of the encoder, [1, H, N, d].
        context: the same in each block of the decoder.
    """

    sites: Tensor
    encoder: Sequence[KeysValues]
    context: Sequence[KeysValues]

    @property
    def count(self) -> int:
        """N."""
        return len(self.sites)


@dataclass(frozen=True)
class Row:
    """One request on its way.

    Attributes:
        request: what it is about.
        given: its conditions; what has to be projected has `content`.
        emptied: the same as guidance sees them.
        targets: all targets, made or not, one row each.
        stage: index of the step that comes next.
        branches: what is kept of the pass with, and of that without the conditions.
        pooled: [D] mean of the conditions' content.
        confidence: mean chance of the likeliest token where the last step asked.
        least_sure: the smallest of these chances.
        doubt: how many of them are expected to be wrong.
        entropy: mean entropy there, 1 being that of a uniform choice.
        close_calls: of the tokens that were drawn and not kept, how many were won by next to
            nothing: the sum of the second best's score over the best one's, noise included.
    """

    request: TokenRequest
    given: Mapping[str, Entry]
    emptied: Mapping[str, Entry]
    targets: Mapping[str, Entry]
    pooled: Tensor
    stage: int = 0
    branches: tuple[Encoded | None, Encoded | None] = (None, None)
    confidence: float = 0.0
    least_sure: float = 0.0
    doubt: float = 0.0
    entropy: float = 1.0
    close_calls: float = 0.0


@dataclass(frozen=True)
class TokenState:
    """Rows side by side; they need not be at the same step.

    Attributes:
        rows: the rows.
        num_stages: steps of the schedule.
    """

    rows: tuple[Row, ...]
    num_stages: int
    stage: np.ndarray = field(init=False)
    done: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        stage = np.array([row.stage for row in self.rows], dtype=np.int64)
        object.__setattr__(self, "stage", stage)
        object.__setattr__(self, "done", stage >= self.num_stages)

    @property
    def requests(self) -> tuple[TokenRequest, ...]:
        """One a row."""
        return tuple(row.request for row in self.rows)


def decoded(entry: Entry) -> int:
    """How many tokens of a target are made."""
    return int(entry["target_mask"].sum())
