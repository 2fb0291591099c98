"""Ctrl-C and SIGTERM ask a long job to stop at the next good moment; a second one stops at once."""

import logging
import signal
from types import FrameType

logger = logging.getLogger(__name__)


class StopRequest:
    """While this context is open, signals set `requested` instead of ending the process.

    Args:
        reassurance: told to the user at the first signal, such as what is being finished.
    """

    def __init__(self, reassurance: str) -> None:
        self.reassurance = reassurance
        self.requested = False

    def __enter__(self) -> "StopRequest":
        self._previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        logger.warning("%s: %s", signal.Signals(number).name, self.reassurance)
