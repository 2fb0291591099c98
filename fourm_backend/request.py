"""What one episode is about: what is given, and the seed of all noise."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenRequest:
    """Conditions of one sample.

    Attributes:
        label: what a person reads.
        inputs: the conditions, each with `tensor` and `input_mask` of one row (`full_input` makes
            them); their order is the order in which they are packed.
        seed: of all noise.
    """

    label: str
    inputs: Mapping[str, Mapping[str, Tensor]]
    seed: int = 0

    @cached_property
    def content_hash(self) -> str:
        """Hash of the conditions."""
        digest = hashlib.sha256()
        for name, entry in self.inputs.items():
            for key in ("tensor", "input_mask"):
                value = entry[key].detach().cpu().contiguous()
                digest.update(f"{name}/{key}/{value.dtype}/{tuple(value.shape)}".encode())
                digest.update(value.numpy().tobytes())
        return digest.hexdigest()[:24]

    @property
    def key(self) -> str:
        """A name for caches."""
        return f"{self.content_hash}/{self.seed}"

    def with_seed(self, seed: int) -> "TokenRequest":
        """The same conditions under another seed."""
        return replace(self, seed=seed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenRequest) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, str]:
        return self.label, self.key
