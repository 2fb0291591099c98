"""States before the first decision, made once a request: what no decision touches is kept.

Kept by (fingerprint, request, number of stages) in memory and, when a folder is given, on disk,
both under a limit in bytes; the oldest go first. Only generators that can pack their states take
part.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from base.bounded import BoundedFolder, BoundedMemory
from base.errors import ConfigError
from envs.generator import Generator
from envs.replay import full_decisions, replay

logger = logging.getLogger(__name__)
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
        if min(memory_bytes, disk_bytes) < 1:
            raise ConfigError(
                f"memory_bytes={memory_bytes}, disk_bytes={disk_bytes}; expected numbers from 1"
            )
        self.folder = None
        if folder is not None:
            self.folder = BoundedFolder(folder, disk_bytes, (".safetensors",))
        self.memory: BoundedMemory[Packed] = BoundedMemory(memory_bytes)

    def get(self, generator: Generator, requests: Sequence[Any], num_stages: int) -> Any:
        """The state of these requests after so many full stages.

        Those that are missing are made in one batch, each once.
        """
        if num_stages == 0 or not isinstance(generator, PacksStates) or not generator.packs_states:
            return run_full(generator, requests, num_stages)
        keys = [f"{generator.fingerprint} {request.key} {num_stages}" for request in requests]
        found = {key: packed for key in dict.fromkeys(keys) if (packed := self._find(key))}
        missing = {k: r for k, r in zip(keys, requests, strict=True) if k not in found}
        if missing:
            made = run_full(generator, list(missing.values()), num_stages)
            for key, packed in zip(missing, generator.pack(made), strict=True):
                found[key] = packed
                self._remember(key, packed)
                self._write(key, packed)
            if len(missing) == len(requests):
                return made
        return generator.unpack(requests, [found[key] for key in keys])

    def _find(self, key: str) -> Packed | None:
        packed = self.memory.get(key)
        if packed is not None or self.folder is None:
            return packed
        path = self.folder.path / _file_name(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("key") != key:
                    return None
                packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            logger.warning("prefix %s is damaged (%s): it is made again", path, error)
            return None
        self._remember(key, packed)
        return packed

    def _remember(self, key: str, packed: Packed) -> None:
        self.memory.put(key, packed, sum(tensor.nbytes for tensor in packed.values()))

    def _write(self, key: str, packed: Packed) -> None:
        if self.folder is None:
            return
        tensors = {name: tensor.contiguous() for name, tensor in packed.items()}
        try:
            self.folder.write(
                _file_name(key), lambda target: save_file(tensors, target, {"key": key})
            )
        except OSError as error:  # a full disk must not end a training
            logger.warning("prefixes are kept in memory only from now on: %s", error)
            self.folder = None


def run_full(generator: Generator, requests: Sequence[Any], num_stages: int) -> Any:
    """The state of these requests after so many stages with nothing pruned."""
    decisions = full_decisions(generator, num_stages)
    state, _ = replay(generator, requests, [decisions] * len(requests))
    return state


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:40] + ".safetensors"
