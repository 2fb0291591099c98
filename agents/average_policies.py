"""Several trainings as one policy, whose scores are the mean of theirs.

Trainings of one recipe differ in which rare cases they get wrong; the mean gets fewer wrong than
most of them (bagging; Breiman 1996, and for policies Wiering and van Hasselt 2008, "Ensemble
algorithms in reinforcement learning"). Networks side by side whose last layers are averaged are one
wider network, so what comes out is a policy like any other: nothing is added where it is used.

Members standardise what they see by means and deviations of their own; the first layer is rewritten
for the mean of these. That changes nothing, but where a value is beyond `standardised_input.BOUND`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from agents.policy_file import PolicyDefinition, read_weights, save_weights
from agents.run_folder import find_policy
from base.errors import ConfigError
from envs.latent_observation import VECTORS

Tensors = Mapping[str, Tensor]
_FIRST = tuple(f"mlp_extractor.{trunk}.0.weight" for trunk in ("policy_net", "value_net"))


def average_policies(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the policy whose scores are the mean of these; return the path of its `policy.json`.

    Args:
        folders: run folders (their best policy), or folders that hold just a policy; two or more.
        out: a folder for the policy.

    Raises:
        CheckpointError: one is missing or damaged.
        ConfigError: fewer than two, or they were trained for different things, or look at codes.
    """
    if len(folders) < 2:
        raise ConfigError(f"{len(folders)} policy to average; expected two or more")
    found = [read_weights(find_policy(Path(folder))) for folder in folders]
    definitions = [definition for _, definition, _ in found]
    for folder, definition in zip(folders, definitions, strict=True):
        _check_alike(folders[0], definitions[0], folder, definition)
    widths = tuple(sum(layer) for layer in zip(*(d.net_arch for d in definitions), strict=True))
    merged = merge([tensors for tensors, _, _ in found])
    return save_weights(out, merged, replace(definitions[0], net_arch=widths))


def merge(members: Sequence[Tensors]) -> dict[str, Tensor]:
    """The weights of the wide network: members are blocks of it, and the last layers average."""
    mean, deviation = (
        torch.stack([member[f"features_extractor.{name}"] for member in members]).mean(0)
        for name in ("mean", "deviation")
    )
    members = [_seeing(member, mean, deviation) for member in members]
    merged: dict[str, Tensor] = {}
    for name in members[0]:
        parts = [member[name] for member in members]
        if name.startswith("mlp_extractor."):
            if name.endswith(".bias") or name in _FIRST:
                merged[name] = torch.cat(parts)
            else:
                merged[name] = torch.block_diag(*parts)
        elif name.endswith("_net.weight"):
            merged[name] = torch.cat(parts, dim=1) / len(members)
        else:  # biases of the last layers, log_std, and what is seen
            merged[name] = torch.stack(parts).mean(0)
    return merged


def _seeing(member: Tensors, mean: Tensor, deviation: Tensor) -> dict[str, Tensor]:
    """The same network for observations that are standardised by these numbers [O]."""
    changed = dict(member)
    for first in _FIRST:
        bias, weight = first.replace("weight", "bias"), member[first]  # [H, O]
        own_mean, own_deviation = (member[f"features_extractor.{n}"] for n in ("mean", "deviation"))
        changed[first] = weight * (deviation / own_deviation)
        changed[bias] = member[bias] + weight @ ((mean - own_mean) / own_deviation)
    return changed


def _check_alike(
    first: str | Path, expected: PolicyDefinition, folder: str | Path, found: PolicyDefinition
) -> None:
    if found.obs_mode not in VECTORS:
        raise ConfigError(f"{folder} looks at codes; only policies of columns can be averaged")
    if not found.net_arch or len(found.net_arch) != len(expected.net_arch):
        raise ConfigError(
            f"{folder} has {len(found.net_arch)} hidden layers, {first} {len(expected.net_arch)}; "
            "expected as many in each, and one or more"
        )
    here = asdict(replace(found, net_arch=()))
    for name, value in asdict(replace(expected, net_arch=())).items():
        if here[name] != value:
            raise ConfigError(
                f"{folder} and {first} cannot be averaged: {name} is {here[name]!r} and {value!r}"
            )
