"""States before the first decision, made once a request: what no decision touches is kept.

Kept by (fingerprint, request, number of stages) in memory and, when a folder is given, on disk,
both under a limit in bytes; the oldest go first. Only generators that can pack their states take
part.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from base.tensor_cache import TensorCache
from envs.generator import Generator
from envs.replay import full_decisions, replay

Packed = Mapping[str, Tensor]


@runtime_checkable
class PacksStates(Protocol):
    """A generator whose states can be taken apart into rows that hold on to nothing else.

    Attributes:
        packs_states: whether it can, under the settings that it has.
    """

    packs_states: bool

    def pack(self, state: Any) -> list[dict[str, Tensor]]:
        """Each row as tensors on the CPU."""

    def unpack(self, requests: Sequence[Any], packed: Sequence[Packed]) -> Any:
        """A state of these rows."""


class PrefixCache:
    """States after some stages in which nothing was pruned.

    Args:
        folder: where they are kept between runs; `None` keeps them in memory only.
        memory_bytes: how much memory they may take.
        disk_bytes: how much of the disk.

    Raises:
        ConfigError: a limit below 1.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        memory_bytes: int = 512 * 2**20,
        disk_bytes: int = 4 * 2**30,
    ):
        self.kept = TensorCache("prefix", memory_bytes, folder, disk_bytes)

    def get(self, generator: Generator, requests: Sequence[Any], num_stages: int) -> Any:
        """The state of these requests after so many full stages.

        Those that are missing are made in one batch, each once.
        """
        if num_stages == 0 or not isinstance(generator, PacksStates) or not generator.packs_states:
            return run_full(generator, requests, num_stages)
        keys = [f"{generator.fingerprint} {request.key} {num_stages}" for request in requests]
        found = {key: packed for key in dict.fromkeys(keys) if (packed := self.kept.get(key))}
        missing = {k: r for k, r in zip(keys, requests, strict=True) if k not in found}
        if missing:
            made = run_full(generator, list(missing.values()), num_stages)
            for key, packed in zip(missing, generator.pack(made), strict=True):
                found[key] = packed
                self.kept.put(key, packed)
            if len(missing) == len(requests):
                return made
        return generator.unpack(requests, [found[key] for key in keys])


def run_full(generator: Generator, requests: Sequence[Any], num_stages: int) -> Any:
    """The state of these requests after so many stages with nothing pruned."""
    decisions = full_decisions(generator, num_stages)
    state, _ = replay(generator, requests, [decisions] * len(requests))
    return state
