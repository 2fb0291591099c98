"""What every benchmark writes: figures, the command, and the machine that made them."""

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from base.files import write_json

FOLDER = Path(__file__).parent


def machine() -> dict[str, Any]:
    """The machine, as far as it matters for the figures."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next(
            (x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), model
        )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def record(name: str, figures: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Write `<name>.json` with the figures, the command line and the machine."""
    command = shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    when = datetime.now(UTC).date().isoformat()
    return write_json(
        folder / f"{name}.json",
        {"command": command, "date": when, "machine": machine(), "figures": figures},
    )
