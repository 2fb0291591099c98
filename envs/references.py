"""References, made once: the output of each request with nothing pruned.

Kept by (fingerprint, request key) in memory and, when a folder is given, on disk, both under a
limit in bytes; the oldest go first. Images are PNG, everything else is NPZ without pickle. A file
that is damaged is made again, with a warning.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from base.bounded import BoundedFolder, BoundedMemory
from base.errors import ConfigError
from base.files import DAMAGED_ARRAYS
from envs.generator import Generator
from envs.replay import full_decisions, replay

logger = logging.getLogger(__name__)

_DAMAGE = (*DAMAGED_ARRAYS, SyntaxError)  # the latter of a header that cannot be read


class ReferenceCache:
    """References in memory and, optionally, on disk.

    Args:
        folder: where they are kept between runs; `None` keeps them in memory only. Several caches,
            also of different generators, may share a folder.
        memory_bytes: how much memory they may take.
        disk_bytes: how much of the disk.
        batch_size: how many are generated together.

    Raises:
        ConfigError: a limit or batch size below 1.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        memory_bytes: int = 512 * 2**20,
        disk_bytes: int = 2 * 2**30,
        batch_size: int = 64,
    ):
        if min(memory_bytes, disk_bytes, batch_size) < 1:
            raise ConfigError(
                f"memory_bytes={memory_bytes}, disk_bytes={disk_bytes}, batch_size={batch_size}; "
                "expected numbers from 1"
            )
        self.folder = None
        if folder is not None:
            self.folder = BoundedFolder(folder, disk_bytes, (".png", ".npz"))
        self.batch_size = batch_size
        self._memory: BoundedMemory[np.ndarray] = BoundedMemory(memory_bytes)

    def get(
        self,
        generator: Generator,
        requests: Sequence[Any],
        make: Callable[[Generator, Sequence[Any]], Sequence[np.ndarray]] | None = None,
        kind: str | None = None,
    ) -> list[np.ndarray]:
        """The references of these requests, in order; those that are missing are made in batch.

        Args:
            generator: makes the outputs.
            requests: any number.
            make: how one batch of arrays is made, if they are not the outputs with nothing pruned.
            kind: names what `make` makes; by default the generator's `output_kind`.
        """
        make, kind = make or generate_full, kind or generator.output_kind
        found: dict[str, np.ndarray] = {}
        missing: dict[str, Any] = {}
        for request in requests:
            key = request.key
            if key in found or key in missing:
                continue
            output = self._memory.get((generator.fingerprint, kind, key))
            if output is None:
                output = self._read(generator.fingerprint, kind, key)
            if output is None:
                missing[key] = request
            else:
                found[key] = output
        todo = list(missing.values())
        for start in range(0, len(todo), self.batch_size):
            batch = todo[start : start + self.batch_size]
            for request, output in zip(batch, make(generator, batch), strict=True):
                found[request.key] = output
                self._write(generator.fingerprint, kind, request.key, output)
        return [found[request.key] for request in requests]

    def _path(self, fingerprint: str, kind: str, key: str) -> Path | None:
        if self.folder is None:
            return None
        suffix = ".png" if kind == "image" else ".npz"
        name = hashlib.sha256(f"{fingerprint}\0{key}\0{kind}".encode()).hexdigest()[:40]
        return self.folder.path / (name + suffix)

    def _remember(self, fingerprint: str, kind: str, key: str, output: np.ndarray) -> None:
        output.setflags(write=False)  # it is handed out again and again
        self._memory.put((fingerprint, kind, key), output, output.nbytes)

    def _read(self, fingerprint: str, kind: str, key: str) -> np.ndarray | None:
        path = self._path(fingerprint, kind, key)
        if path is None or not path.is_file():
            return None
        try:
            output = _load(path, identity=f"{fingerprint} {key}")
        except _DAMAGE as error:
            logger.warning("reference %s is damaged (%s): it is made again", path, error)
            return None
        self._remember(fingerprint, kind, key, output)
        return output

    def _write(self, fingerprint: str, kind: str, key: str, output: np.ndarray) -> None:
        self._remember(fingerprint, kind, key, output)
        path = self._path(fingerprint, kind, key)
        if path is None or self.folder is None:
            return
        identity = f"{fingerprint} {key}"
        try:
            self.folder.write(
                path.name, lambda target: _save(target, path.suffix, output, identity)
            )
        except OSError as error:  # a full disk must not end a training
            logger.warning("references are kept in memory only from now on: %s", error)
            self.folder = None


def generate_full(generator: Generator, requests: Sequence[Any]) -> list[np.ndarray]:
    """The outputs of these requests with nothing pruned, generated in one batch."""
    decisions = [full_decisions(generator, len(generator.stages(request))) for request in requests]
    state, _ = replay(generator, requests, decisions)
    return [np.array(output) for output in generator.finish(state)]


def _digest(output: np.ndarray, identity: str) -> str:
    """Hash of what a file holds and of whose reference it is."""
    head = f"{identity} {output.dtype.str} {output.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(output).tobytes()).hexdigest()


def _save(target: Path, suffix: str, output: np.ndarray, identity: str) -> None:
    digest = _digest(output, identity)
    with open(target, "wb") as file:
        if suffix == ".png":
            text = PngImagePlugin.PngInfo()
            text.add_text("digest", digest)
            # fast compression: written during training
            Image.fromarray(output).save(file, format="PNG", pnginfo=text, compress_level=1)
        else:
            np.savez_compressed(file, output=output, digest=np.array(digest))


def _load(path: Path, identity: str) -> np.ndarray:
    if path.suffix == ".png":
        with Image.open(path, formats=["PNG"]) as image:
            output, digest = np.array(image), image.info.get("digest")
    else:
        with np.load(path, allow_pickle=False) as arrays:
            output, digest = arrays["output"], str(arrays["digest"])
    if digest != _digest(output, identity):
        raise ValueError("its content does not match its checksum")
    return output
