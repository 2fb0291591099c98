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
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from agents.policy_file import PolicyDefinition, read_weights, save_weights
from agents.run_folder import find_policy
from base.errors import ConfigError
from envs.latent_observation import VECTORS

Tensors = Mapping[str, Tensor]
_EXTRACTORS = ("features_extractor", "pi_features_extractor", "vf_features_extractor")
_HEADS = {"policy_net": "action_net", "value_net": "value_net"}  # of each trunk


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
    merged = {f"{extractor}.mean": mean for extractor in _EXTRACTORS}
    merged |= {f"{extractor}.deviation": deviation for extractor in _EXTRACTORS}
    for trunk, head in _HEADS.items():
        for layer in count(0, 2):  # an activation after each
            name = f"mlp_extractor.{trunk}.{layer}"
            if f"{name}.weight" not in members[0]:
                break
            parts = [(member[f"{name}.weight"], member[f"{name}.bias"]) for member in members]
            if layer == 0:
                parts = [
                    _rewritten(weight, bias, member, mean, deviation)
                    for (weight, bias), member in zip(parts, members, strict=True)
                ]
            weights, biases = zip(*parts, strict=True)
            merged[f"{name}.weight"] = (
                torch.cat(weights) if layer == 0 else torch.block_diag(*weights)
            )
            merged[f"{name}.bias"] = torch.cat(biases)
        last = [member[f"{head}.weight"] for member in members]
        merged[f"{head}.weight"] = torch.cat(last, dim=1) / len(members)
        merged[f"{head}.bias"] = torch.stack([m[f"{head}.bias"] for m in members]).mean(0)
    if "log_std" in members[0]:  # of a box of actions
        merged["log_std"] = torch.stack([member["log_std"] for member in members]).mean(0)
    return merged


def _rewritten(
    weight: Tensor, bias: Tensor, member: Tensors, mean: Tensor, deviation: Tensor
) -> tuple[Tensor, Tensor]:
    """The first layer [H, O], [H] of a member, for observations standardised by other numbers."""
    own_mean, own_deviation = (member[f"features_extractor.{n}"] for n in ("mean", "deviation"))
    return (
        weight * (deviation / own_deviation),
        bias + weight @ ((mean - own_mean) / own_deviation),
    )


def _check_alike(
    first: str | Path, expected: PolicyDefinition, folder: str | Path, found: PolicyDefinition
) -> None:
    if found.obs_mode not in VECTORS:
        raise ConfigError(f"{folder} looks at codes; only policies of columns can be averaged")
    if len(found.net_arch) != len(expected.net_arch):
        raise ConfigError(
            f"{folder} has {len(found.net_arch)} hidden layers, {first} {len(expected.net_arch)}"
        )
    here = asdict(replace(found, net_arch=()))
    for name, value in asdict(replace(expected, net_arch=())).items():
        if here[name] != value:
            raise ConfigError(
                f"{folder} and {first} cannot be averaged: {name} is {here[name]!r} and {value!r}"
            )
