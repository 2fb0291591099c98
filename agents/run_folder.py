"""The folder of one training run: what lies where, and that only one process writes into it.

`config.json` (all settings), `best/` and `last/` (policies), `checkpoint*` (the state to go on
from), `evaluations.json`, `tensorboard/`, `run.lock`.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from base.errors import CheckpointError, ConfigError
from base.files import read_json, write_json

POLICY_FOLDERS = ("best", "last")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder; the system lets go of it when the process ends, however it ends.

    Raises:
        ConfigError: another process holds it; its number is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "run.lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(
                f"{folder} is being written by process {file.read().strip()}; wait for it, or "
                "choose another --run-dir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def start_or_resume(folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Check that this run may start in `folder`, or go on there; write its settings.

    Args:
        folder: of the run.
        settings: all that the result depends on, as plain values for JSON.
        resume: go on from the checkpoint in the folder.

    Raises:
        ConfigError: there is a run already and `resume` is not set, or its settings differ.
        CheckpointError: there is nothing to go on from.
    """
    started = (folder / "checkpoint.json").exists()
    if started and not resume:
        raise ConfigError(
            f"{folder} holds a run already; pass --resume to go on with it, or choose another "
            "--run-dir"
        )
    if resume:
        if not started:
            raise CheckpointError(
                f"{folder} holds no checkpoint.json to go on from; start without --resume"
            )
        before = read_json(folder / "config.json")
        for name in sorted(set(before) | set(settings)):
            if before.get(name) != settings.get(name):
                raise ConfigError(
                    f"{folder} was started with {name} = {before.get(name)!r}; now {name} is "
                    f"{settings.get(name)!r}. Resume with the same settings, or start a new run"
                )
    write_json(folder / "config.json", dict(settings))
