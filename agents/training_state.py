"""All that a training run is at the end of a rollout, so that it can go on as if never stopped.

Stable-Baselines3 saves policy, optimizer and hyper-parameters. To end with the same weights, a run
also needs its random states, its place in the environment, the last observation and its counters.
The policy runs on the CPU and generators key their noise by request, so no device state is needed.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.ppo_model import Learner
from agents.tensor_record import read_tensor_record, write_tensor_record
from base.errors import CheckpointError
from envs.sb3_vec_env import PruningVecEnv

FORMAT = 1
NAME = "checkpoint"


def save_training_state(folder: Path, model: Learner, progress: dict[str, Any]) -> None:
    """Write the state of `model` between two rollouts; the previous one is kept beside it.

    Args:
        folder: of the run.
        model: with an environment that has `state_dict`.
        progress: what the training loop itself has to remember; plain values for JSON.
    """
    env = _batched_env(model)
    optimizer = model.policy.optimizer.state_dict()
    numpy_state = np.random.get_state(legacy=False)
    tensors = {
        **{f"policy/{name}": value for name, value in model.policy.state_dict().items()},
        **{
            f"optimizer/{parameter}/{name}": torch.as_tensor(value)
            for parameter, values in optimizer["state"].items()
            for name, value in values.items()
        },
        "random/torch": torch.get_rng_state(),
        "random/numpy": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
    }
    version, python_words, python_gauss = random.getstate()
    record = {
        "format": FORMAT,
        "num_timesteps": model.num_timesteps,
        "n_updates": model._n_updates,
        "progress_remaining": model._current_progress_remaining,
        "optimizer_groups": optimizer["param_groups"],
        "python_random": [version, list(python_words), python_gauss],
        "numpy_random": {
            "position": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
        "environment": env.state_dict(),
        "progress": progress,
    }
    write_tensor_record(folder, NAME, tensors, record, keep_previous=True)


def _batched_env(model: Learner) -> PruningVecEnv:
    """The environment below whatever wraps it."""
    assert model.env is not None
    env = model.env.unwrapped
    assert isinstance(env, PruningVecEnv)
    return env


def load_training_state(folder: Path, model: Learner) -> dict[str, Any]:
    """Bring `model`, made with the same settings, to the saved state; return `progress`.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or it is of another model.
    """
    try:
        record, tensors, _ = read_tensor_record(folder, NAME)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. The state before it is in {folder / NAME}-previous.json; to go on from "
            f"there, rename it to {NAME}.json"
        ) from error
    if record.get("format") != FORMAT:
        raise CheckpointError(f"{folder} has checkpoint format {record.get('format')}; not 1")
    try:
        model.policy.load_state_dict(_part(tensors, "policy"))
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(tensors, "optimizer").items():
            parameter, _, key = name.partition("/")
            states.setdefault(int(parameter), {})[key] = value
        model.policy.optimizer.load_state_dict(
            {"state": states, "param_groups": record["optimizer_groups"]}
        )
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder} holds a policy of another shape: {error}") from error
    env = _batched_env(model)
    model._last_obs = env.load_state_dict(record["environment"])
    model._last_episode_starts = env.episode_starts()
    model.num_timesteps = record["num_timesteps"]
    model._n_updates = record["n_updates"]
    model._current_progress_remaining = record["progress_remaining"]
    # Last, because making a model and an environment may have drawn from them.
    version, python_words, python_gauss = record["python_random"]
    random.setstate((version, tuple(python_words), python_gauss))
    numpy_key = tensors["random/numpy"].numpy().astype(np.uint32)
    numpy_rest = record["numpy_random"]
    np.random.set_state(
        ("MT19937", numpy_key, *(numpy_rest[name] for name in ("position", "has_gauss", "gauss")))
    )
    torch.set_rng_state(tensors["random/torch"])
    return record["progress"]


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    start = f"{prefix}/"
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
