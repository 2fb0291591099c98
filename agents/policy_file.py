"""Policies as files that run no code: `policy.json` tells what goes in and out, beside the weights.

A policy only means something together with the observation and the actions that it was trained
with, on the generator that it was trained on; all of that is in the file, and checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.standardised_input import input_layer
from agents.tensor_record import read_tensor_record, write_tensor_record
from base.errors import CheckpointError, ConfigError
from envs.actions import ActionEncoding, action_encoding
from envs.generator import Generator, policy_fingerprint
from envs.latent_observation import observation_of

Policy: TypeAlias = ActorCriticPolicy | MaskableActorCriticPolicy

FORMAT = 2
NAME = "policy"


@dataclass(frozen=True)
class PolicyDefinition:
    """What a policy reads, what it sets, and for which generator.

    Attributes:
        fingerprint: of the generator, see `envs.generator.policy_fingerprint`.
        num_stages: the generator's `max_stages`.
        observation: the names of the columns, or channels, in order.
        action_mode: `discrete` (a number of the menu) or `box` (one number a field).
        menu: the decisions that a discrete action picks from.
        first_controlled_stage: stages before it are computed in full.
        preference: the weight between compute and fidelity, or the range that it was trained for.
        net_arch: widths of the hidden layers, of the actor and of the critic alike.
        masked: whether it was trained to choose among allowed actions only, and must be told them.
        obs_mode: `vector`, or a layout of codes (`envs/latent_observation.py`).
    """

    fingerprint: str
    num_stages: int
    observation: tuple[str, ...]
    action_mode: str
    menu: tuple[Mapping[str, Any], ...]
    first_controlled_stage: int
    preference: float | tuple[float, float]
    net_arch: tuple[int, ...]
    masked: bool = False
    obs_mode: str = "vector"

    def encoding(self, generator: Generator) -> ActionEncoding:
        """Return how actions of this policy are read."""
        menu = self.menu if self.action_mode == "discrete" else None
        return action_encoding(generator.decision_space, self.action_mode, menu)


def save_policy(folder: str | Path, policy: Policy, definition: PolicyDefinition) -> Path:
    """Write the policy into `folder`; return the path of its `policy.json`."""
    versions = {name: version(name) for name in ("stable-baselines3", "gymnasium", "torch")}
    record = {"format": FORMAT, **asdict(definition), "versions": versions}
    return write_tensor_record(folder, NAME, policy.state_dict(), record)


def load_policy(folder: str | Path, generator: Generator) -> tuple[Policy, PolicyDefinition, str]:
    """Read a policy for this generator. No code in the files is run.

    Args:
        folder: holds `policy.json`.
        generator: what the policy is going to control.

    Returns:
        The policy on the CPU, its definition, and the SHA-256 of its weights.

    Raises:
        CheckpointError: files that are missing or damaged, or a policy for another generator or
            another number of stages; both are named.
    """
    path = Path(folder) / f"{NAME}.json"
    record, tensors, digest = read_tensor_record(folder, NAME)
    definition = _read_definition(path, record)
    _check_fits(path, definition, generator)
    try:
        kind = MaskableActorCriticPolicy if definition.masked else ActorCriticPolicy
        space = observation_of(generator, definition.obs_mode).space
        policy: Policy = kind(
            space,
            definition.encoding(generator).space,
            lr_schedule=lambda _: 0.0,
            net_arch=list(definition.net_arch),
            features_extractor_class=input_layer(space),
        )
        policy.load_state_dict(tensors)
    except (ConfigError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit its weights or menu: {error}") from error
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError(f"{path} holds weights that are not finite")
    policy.set_training_mode(False)
    return policy, definition, digest


def _read_definition(path: Path, record: Mapping[str, Any]) -> PolicyDefinition:
    if record.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {record.get('format')!r}; this version reads format {FORMAT}"
        )
    needed = [field.name for field in fields(PolicyDefinition) if field.default is MISSING]
    missing = [name for name in needed if name not in record]
    if missing:
        raise CheckpointError(f"{path} lacks {missing}; it is not a policy of prunegym")

    def plain(value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    known = [field.name for field in fields(PolicyDefinition) if field.name in record]
    return PolicyDefinition(**{name: plain(record[name]) for name in known})


def _without(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)


def _check_fits(path: Path, definition: PolicyDefinition, generator: Generator) -> None:
    try:
        names = observation_of(generator, definition.obs_mode).names
    except ConfigError as error:
        raise CheckpointError(f"{path} is a policy for another generator: {error}") from error
    here: Sequence[tuple[str, Any, Any]] = (
        ("number of stages", definition.num_stages, generator.max_stages),
        ("fingerprint", definition.fingerprint, policy_fingerprint(generator)),
        # only what is different: there are dozens of columns
        (
            "list of observations that the other lacks",
            _without(definition.observation, names),
            _without(names, definition.observation),
        ),
        ("order of observations", definition.observation, names),
    )
    for what, saved, expected in here:
        if saved != expected:
            raise CheckpointError(
                f"{path} is a policy for another generator: its {what} is {saved!r}, that of this "
                f"generator {expected!r}. Use the generator that it was trained on, or train anew"
            )
