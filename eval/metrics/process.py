"""A metric in a process of its own, for packages whose pins clash with those of this project.

The process may run in any Python environment. It speaks JSON lines: first it writes what it is,

    {"name": ..., "higher_is_better": ..., "needs_reference": ..., "needs_prompt": ...,
     "minimum_side": ..., "provenance": ...}          or  {"unavailable": why}

and then answers each line on its input,

    {"images": [paths], "references": [paths] or null, "prompts": [texts]}

by `{"values": [numbers or null]}` or `{"error": why}`. Images are PNG files.
"""

import json
import os
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from eval.metrics.protocol import MetricUnavailableError

_MOST_STARTS = 3  # a process that keeps dying is not worth a start for each image
_FIELDS = {
    "name": str,
    "higher_is_better": bool,
    "needs_reference": bool,
    "needs_prompt": bool,
    "minimum_side": int,
    "provenance": str,
}


class ProcessMetric:
    """A metric whose values another process computes; see the module for what the two say."""

    name: str
    higher_is_better: bool
    needs_reference: bool
    needs_prompt: bool
    minimum_side: int
    provenance: str

    def __init__(self, command: Sequence[str], timeout_s: float = 900) -> None:
        """Start the process and hear what it is.

        Args:
            command: program and arguments.
            timeout_s: how long it may take to load, and to answer one batch.

        Raises:
            MetricUnavailableError: it does not start, or says why it cannot compute anything here.
        """
        self._command, self._timeout_s, self._starts = list(command), timeout_s, 0
        for field, value in self._start().items():
            setattr(self, field, value)

    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """[B] float64: what the process says of uint8 images [B, H, W, 3]; NaN where it says null.

        Raises:
            RuntimeError: it could not compute this batch, or it died.
        """
        if self._process.poll() is not None:
            self._start()
        with tempfile.TemporaryDirectory() as folder:
            request = {
                "images": _write(images, Path(folder), "image"),
                "references": None
                if references is None
                else _write(references, Path(folder), "reference"),
                "prompts": list(prompts),
            }
            answer = self._ask(request)
        values = answer.get("values")
        if not isinstance(values, list) or len(values) != len(images):
            raise RuntimeError(f"{self.name}: {answer.get('error', f'answered {answer}')}")
        return torch.tensor([float("nan") if v is None else v for v in values], dtype=torch.float64)

    def close(self) -> None:
        """End the process."""
        self._end()

    def _start(self) -> dict[str, Any]:
        self._starts += 1
        if self._starts > _MOST_STARTS:
            raise RuntimeError(f"{self._command[0]} died {_MOST_STARTS} times; not started again")
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "HF_HUB_OFFLINE": "1"},  # weights come from this machine
            )
        except OSError as error:
            raise MetricUnavailableError(f"not run here: {error}") from None
        self._end = weakref.finalize(self, _end, self._process)
        hello = self._read()
        if "unavailable" in hello:
            raise MetricUnavailableError(f"not run here: {hello['unavailable']}")
        if any(type(hello.get(field)) is not kind for field, kind in _FIELDS.items()):
            raise MetricUnavailableError(
                f"not run here: {self._command} introduced itself as {hello}"
            )
        return {field: hello[field] for field in _FIELDS}

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RuntimeError(f"{self.name}: the process is gone: {error}") from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        """One line from the process, an object; a process that is silent too long is ended."""
        assert self._process.stdout is not None
        watch = threading.Timer(self._timeout_s, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if not line:
            code = self._process.wait()
            return {"unavailable": (why := f"the process ended with {code}"), "error": why}
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        return value if isinstance(value, dict) else {"error": f"it wrote {line[:200]!r}"}


def _write(images: torch.Tensor, folder: Path, name: str) -> list[str]:
    paths = []
    for index, image in enumerate(images.cpu().numpy()):
        paths.append(str(folder / f"{name}_{index}.png"))
        Image.fromarray(image).save(paths[-1], compress_level=1)
    return paths


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
