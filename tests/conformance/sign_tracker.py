"""The keypoints of a video against those that MediaPipe found in it."""

from pathlib import Path
from typing import Any

from tests.conformance.checks import Checks


def check_tracker(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """The recorded video through the tracker, if it is set up here."""
    checks.not_run("keypoints", "no tracker is set up here (make setup-sign)")
