"""Groups of tensors under a key, in memory and, with a folder, on disk; both are bounded."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from base.bounded import BoundedFolder, BoundedMemory
from base.errors import ConfigError

logger = logging.getLogger(__name__)
Tensors = Mapping[str, Tensor]


class TensorCache:
    """See the module. What is longest unused in memory, and oldest on disk, goes first.

    Args:
        what: is kept, for warnings: `prefix`.
        memory_bytes: how much memory it may take.
        folder: where it is kept between runs; `None` keeps it in memory only.
        disk_bytes: how much of the disk it may take.

    Raises:
        ConfigError: a limit below 1.
    """

    def __init__(
        self,
        what: str,
        memory_bytes: int,
        folder: str | Path | None = None,
        disk_bytes: int = 4 * 2**30,
    ):
        if min(memory_bytes, disk_bytes) < 1:
            raise ConfigError(
                f"memory_bytes={memory_bytes}, disk_bytes={disk_bytes}; expected numbers from 1"
            )
        self.what = what
        self.memory: BoundedMemory[Tensors] = BoundedMemory(memory_bytes)
        self.folder: BoundedFolder | None = None
        if folder is not None:
            self.folder = BoundedFolder(folder, disk_bytes, (".safetensors",))

    def get(self, key: str) -> Tensors | None:
        """The tensors of this key, or None; those from disk are on the CPU."""
        tensors = self.memory.get(key)
        if tensors is not None or self.folder is None:
            return tensors
        path = self.folder.path / _file_name(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("key") != key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            logger.warning("%s %s is damaged (%s): it is made again", self.what, path, error)
            return None
        self._remember(key, tensors)
        return tensors

    def put(self, key: str, tensors: Tensors) -> None:
        """Keep these tensors."""
        self._remember(key, tensors)
        if self.folder is None:
            return
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            self.folder.write(
                _file_name(key), lambda target: save_file(contiguous, target, {"key": key})
            )
        except OSError as error:  # a full disk must not end a training
            logger.warning("each %s is kept in memory only from now on: %s", self.what, error)
            self.folder = None

    def _remember(self, key: str, tensors: Tensors) -> None:
        self.memory.put(key, tensors, sum(tensor.nbytes for tensor in tensors.values()))


def _file_name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:40] + ".safetensors"
