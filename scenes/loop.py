"""The training loop that all parts share: one cosine, a restart file, progress with time left.

Everything random in a step is drawn from (seed, step), so the restart file needs the weights, the
optimizer and the step only, and a killed run goes on exactly where it stopped.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from base.errors import CheckpointError, ConfigError
from base.files import write_atomic
from scenes.optimizer import make_optimizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast a part learns.

    Attributes:
        steps: optimizer steps; the learning rate follows one cosine over all of them.
        batch: examples per step.
        lr: highest learning rate, after `warmup` steps.
        lr_floor: share of `lr` that is left at the end.
        save_every_s, log_every_s: seconds between restart files, and between log lines.
    """

    steps: int
    batch: int = 16
    lr: float = 1e-3
    warmup: int = 100
    lr_floor: float = 0.01
    clip: float = 1.0
    seed: int = 0
    save_every_s: float = 60.0
    log_every_s: float = 20.0

    def lr_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine down to the floor."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, done))
        return self.lr * (self.lr_floor + (1.0 - self.lr_floor) * cosine)


StepLoss = Callable[[int, np.random.Generator], tuple[Tensor, dict[str, float]]]


def train(
    name: str,
    modules: dict[str, nn.Module],
    loss_of: StepLoss,
    config: LoopConfig,
    run_dir: Path,
) -> None:
    """Train `modules` in place for `config.steps` steps, going on from a restart file if any.

    Args:
        name: the part; its restart file is `run_dir/<name>.restart.safetensors`.
        modules: what learns, by name.
        loss_of: (step, numpy generator of this step) to (loss, figures for the log).
        config: length, batch and learning rate.
        run_dir: folder of restart files.
    """
    optimizer = make_optimizer(modules.values(), config.lr)
    restart = run_dir / f"{name}.restart.safetensors"
    step = load_restart(restart, modules, optimizer) if restart.exists() else 0
    if step:
        log.info("%s: goes on from step %d of %d", name, step, config.steps)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    began = saved = logged = time.monotonic()
    first, means = step, dict[str, float]()
    while step < config.steps:
        rng = np.random.default_rng([config.seed, step])
        torch.manual_seed(int(rng.integers(2**62)))
        for group in optimizer.param_groups:
            group["lr"] = config.lr_at(step)
        loss, figures = loss_of(step, rng)
        if not torch.isfinite(loss):
            raise CheckpointError(f"{name}: the loss is {loss.item()} at step {step}; lower the lr")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        for key, value in {"loss": loss.item(), **figures}.items():
            means[key] = means.get(key, value) * 0.98 + 0.02 * value
        now = time.monotonic()
        if now - logged > config.log_every_s or step == config.steps:
            rate, logged = (step - first) / (now - began), now
            text = " ".join(f"{key} {value:.4f}" for key, value in means.items())
            left = (config.steps - step) / rate
            log.info(
                "%s %d/%d %.1f steps/s, %.0f s left: %s", name, step, config.steps, rate, left, text
            )
        if now - saved > config.save_every_s or step == config.steps:
            saved = now
            save_restart(restart, modules, optimizer, step)


def run_parts(
    train_part: Callable[[str], None], wanted: Sequence[str], known: Sequence[str]
) -> None:
    """Train the wanted parts of a model, in the order in which they need each other.

    Raises:
        ConfigError: a part that the recipe does not have.
    """
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ConfigError(f"unknown parts {unknown}; known are {list(known)}")
    for part in known:
        if part in wanted:
            train_part(part)


def save_restart(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Write weights, optimizer state and step as one safetensors file."""
    tensors = {
        f"{name}|{key}": value.detach().contiguous().clone()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    numbers: dict[str, Any] = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer|{index}|{key}"] = value.contiguous().clone()
            else:
                numbers[f"{index}|{key}"] = value
    metadata = {"step": str(step), "numbers": json.dumps(numbers)}
    write_atomic(path, lambda target: save_file(tensors, target, metadata=metadata))


def load_restart(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer | None = None
) -> int:
    """Read `save_restart`'s file into the modules and the optimizer; return the step.

    Raises:
        CheckpointError: the file is damaged, or was made for other modules.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        for name, module in modules.items():
            prefix = f"{name}|"
            module.load_state_dict(
                {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            )
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a restart file of this part ({error}); delete it to start over"
        ) from error
    if optimizer is not None:
        state: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer|"):
                _, index, entry = key.split("|")
                state.setdefault(int(index), {})[entry] = value
        for key, value in json.loads(metadata["numbers"]).items():
            index, entry = key.split("|")
            state.setdefault(int(index), {})[entry] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(metadata["step"])
