"""The client of a keypoint worker: one process, messages over its pipes; no MediaPipe in here.

`sign_backend/keypoint_worker.py` says what the messages are.
"""

import contextlib
import json
import logging
import os
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from base.errors import DataError, ResourceError

logger = logging.getLogger(__name__)
WORKER = Path(__file__).with_name("keypoint_worker.py")
PYTHON_VARIABLE = "PRUNEGYM_SIGN_PYTHON"
_SETUP = f"`make setup-sign` makes the environment; {PYTHON_VARIABLE} names the Python of another"


def worker_python() -> Path:
    """The Python that has MediaPipe: `$PRUNEGYM_SIGN_PYTHON`, else that of `.venv-sign`.

    Raises:
        ResourceError: it is not there.
    """
    if PYTHON_VARIABLE in os.environ:
        python = Path(os.environ[PYTHON_VARIABLE])
    else:
        folder = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        python = Path(__file__).parents[1] / ".venv-sign" / folder
    if not python.is_file():
        raise ResourceError(f"keypoints need MediaPipe, and there is no {python}; {_SETUP}")
    return python


class KeypointProcess:
    """One worker. Not for several threads at once.

    Args:
        python: that has MediaPipe.
        timeout_s: how long it may be silent; a long video brings news every few seconds.

    Attributes:
        versions: of what its results depend on.

    Raises:
        ResourceError: it does not start, or lacks a package.
    """

    def __init__(self, python: Path | None = None, timeout_s: float = 120.0):
        self._timeout_s = timeout_s
        command = [str(python or worker_python()), str(WORKER)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if not logger.isEnabledFor(logging.DEBUG) else None,
                env={**os.environ, "OMP_NUM_THREADS": "1", "GLOG_minloglevel": "2"},
            )
        except OSError as error:
            raise ResourceError(f"the keypoint worker does not start: {error}; {_SETUP}") from None
        self._end = weakref.finalize(self, _end, self._process)
        hello, _ = self._read("its start")
        if "ready" not in hello:
            self.close()
            raise ResourceError(f"no keypoints here: {hello.get('unavailable', hello)}; {_SETUP}")
        self.versions: dict[str, str] = hello["ready"]

    def ask(
        self, about: str, header: dict[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        """Send one message and return the answer's header and bytes.

        Args:
            about: what an error message names, such as the video.
            header: the message.
            payload: its bytes.

        Raises:
            DataError: the worker cannot do this; or it died or went silent over it, and is ended.
            ResourceError: nothing of this kind can be done here.
        """
        if not self.alive:
            raise DataError(f"{about}: the keypoint worker is gone; start another one")
        text = json.dumps({**header, "bytes": len(payload)}).encode()
        self._write(about, struct.pack("<I", len(text)) + text + payload)
        answer, data = self._read(about)
        while "progress" in answer:
            answer, data = self._read(about)
        if "unavailable" in answer:
            raise ResourceError(f"{about}: {answer['unavailable']}")
        if "error" in answer:
            raise DataError(f"{about}: {answer['error']}")
        return answer, data

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    @property
    def process_id(self) -> int:
        """Of the operating system."""
        return self._process.pid

    def close(self) -> None:
        """End the process."""
        self._end()

    def _write(self, about: str, message: bytes) -> None:
        assert self._process.stdin is not None
        with self._patience() as silent:
            try:
                self._process.stdin.write(message)
                self._process.stdin.flush()
            except OSError:
                self._give_up(about, silent)

    def _read(self, about: str) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdout is not None
        with self._patience() as silent:
            size = self._process.stdout.read(4)
            text = (
                self._process.stdout.read(struct.unpack("<I", size)[0]) if len(size) == 4 else b""
            )
            try:
                header = json.loads(text)
            except ValueError:  # nothing, or half a header
                self._give_up(about, silent)
            data = self._process.stdout.read(header["bytes"])
            if len(data) < header["bytes"]:
                self._give_up(about, silent)
        return header, data

    @contextlib.contextmanager
    def _patience(self) -> Iterator[threading.Event]:
        """A process that is silent for too long is ended, and the event says so."""
        silent = threading.Event()

        def stop() -> None:
            silent.set()
            self._process.kill()

        watch = threading.Timer(self._timeout_s, stop)
        watch.start()
        try:
            yield silent
        finally:
            watch.cancel()

    def _give_up(self, about: str, silent: threading.Event) -> NoReturn:
        code = self._process.wait()
        self.close()
        why = f"said nothing for {self._timeout_s:g} s" if silent.is_set() else f"ended with {code}"
        raise DataError(f"{about}: the keypoint worker {why}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # what was still to be written has nowhere to go
                logger.debug("closing a pipe of the keypoint worker", exc_info=True)
