"""The protocol of a generator: all that an environment knows of the model that it controls.

It is structural: a backend implements these members and imports nothing from here.
`envs/toy.py` is the smallest complete example; `infinity_backend/generator.py` is the real one.

Glossary of shapes: B rows (one request each), F features, n decisions of a menu.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from base.decisions import Decision, DecisionSpace
from base.stages import Stage


@runtime_checkable
class Request(Protocol):
    """What one episode is about. Equal requests have equal keys and give equal references."""

    @property
    def key(self) -> str:
        """A short text that names the request among all others: part of every cache key."""

    @property
    def label(self) -> str:
        """What a person reads: the prompt, the name of the video."""

    @property
    def seed(self) -> int:
        """The seed of all of its noise."""

    def with_seed(self, seed: int) -> "Request":
        """The same request under another seed."""


class State(Protocol):
    """Generation in the middle, as a value: nothing outside it is needed to go on."""

    @property
    def requests(self) -> tuple[Any, ...]:
        """The requests of the rows, in order. Length B."""

    @property
    def stage(self) -> np.ndarray:
        """[B] int64: the index of the stage that each row takes next."""

    @property
    def done(self) -> np.ndarray:
        """[B] bool: whether the row has taken its last stage."""


@runtime_checkable
class Generator(Protocol):
    """A frozen model that makes its output in stages.

    Attributes:
        fingerprint: hash of weights, sampling and pruning settings, schedule and dtype. Artefacts
            and figures with different fingerprints are never mixed.
        output_kind: `image`, `tokens` or `embedding`; `eval.metrics` has the figures of each kind.
        decision_space: the fields of a decision, and the default menu of discrete actions. The
            full decision is allowed as long as no other one was taken before it.
        feature_names: one name for each column of `features`, in order. Length F.
        max_stages: the largest number of stages that any request can take.
    """

    fingerprint: str
    output_kind: str
    decision_space: DecisionSpace
    feature_names: tuple[str, ...]
    max_stages: int

    def stages(self, request: Any) -> tuple[Stage, ...]:
        """The stages of this request, with what each costs when nothing is pruned."""

    def fixed_cost(self, request: Any) -> float:
        """FLOPs that are paid whatever is decided: text, decoding, features."""

    def begin(self, requests: Sequence[Any]) -> Any:
        """A state for B requests: inputs encoded, noise keyed, nothing drawn yet."""

    def allowed(self, state: Any, decisions: Sequence[Decision]) -> np.ndarray:
        """[B, n] bool: which of these n decisions each row may take now.

        A skipped stage computes nothing, so what its other fields say does not count: it is neither
        forbidden nor remembered.
        """

    def cost(self, state: Any, decisions: Sequence[Decision]) -> np.ndarray:
        """[B] float64: FLOPs of the next stage of each row, alone, under its own decision.

        `decisions` has one entry a row. Rows that are done cost 0. A forbidden decision costs what
        it would cost if it were allowed: how near another one comes is measured by it.
        """

    def advance(self, state: Any, decisions: Sequence[Decision]) -> Any:
        """The next state: one stage of each row that is not done, each by its own decision.

        The argument is left as it was.

        Raises:
            GenerationError: a forbidden decision, or a result that is not finite.
        """

    def fork(self, state: Any, rows: Sequence[int]) -> Any:
        """A state of these rows, copied, dropped or repeated. What did not change is shared."""

    def join(self, states: Sequence[Any]) -> Any:
        """States put side by side, as when a fresh row enters a running batch."""

    def features(self, state: Any) -> np.ndarray:
        """[B, F] float32: what a policy may look at; cheap, finite, roughly within [-5, 5].

        Rows that are done have features, too: the last observation of an episode shows them.
        """

    def preview(self, state: Any, rows: Sequence[int] | None = None) -> Any:
        """The outputs of these rows (default all) as if the generator stopped here.

        For a row that is done: its output.
        """

    def finish(self, state: Any) -> Any:
        """The outputs of the rows that are done, in their order; decoded in one batch.

        For `image`: uint8 RGB [rows, height, width, 3]. Otherwise a list or an array.
        """


def policy_fingerprint(generator: Generator) -> str:
    """What a policy belongs to: the generator's `policy_fingerprint` if it has one.

    Some have several fingerprints for one model: with a tracker, or with a model of it. A policy
    serves under all of them; figures are never mixed.
    """
    return str(getattr(generator, "policy_fingerprint", generator.fingerprint))


def feature_cost(generator: Generator, state: Any) -> np.ndarray:
    """[B] FLOPs of what `features` computes for its own sake: `feature_cost` of the generator.

    Paid by controllers that observe, each time. Generators without it have features that cost
    nothing worth mentioning, or are part of `fixed_cost`.
    """
    if not hasattr(generator, "feature_cost"):
        return np.zeros(len(state.requests))
    return np.asarray(generator.feature_cost(state), np.float64)
