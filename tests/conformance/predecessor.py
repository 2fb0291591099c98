"""The predecessor's and SkipVAR's own numbers: spectra, token selection, restoration, decisions,
and what its three environments observed and paid.

Tolerances: spectra 3e-4, restored tokens 1e-6, features 1e-5, scores 1e-6, rewards, figures and
observations 1e-5 (decibels 1e-3); kept tokens in their order and classes exact.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from agents.skipvar import DecisionModel
from envs.pruning_env import PruningEnv
from infinity_backend.config import PruningConfig
from infinity_backend.high_frequency import edge_difference, high_frequency_share
from infinity_backend.pruning import gather, resize_tokens, scatter
from infinity_backend.selection import SELECTIONS, Evidence
from infinity_backend.spectrum import radial_spectrum
from tests.conformance.checks import Checks, as_tensor
from tests.conformance.predecessor_model import StandInGenerator, StandInRequest, scorers
from tests.conformance.result import CaseResult

METHODS = {"l2": "fastvar", "entropy": "entropy", "hybrid": "hybrid"}  # theirs: ours
# where the recorded samples of observations were taken: channel, row, column
SAMPLES = ((0, 0, 0), (5, 10, 20), (31, 63, 63), (32, 0, 0), (40, 33, 7), (63, 63, 63))
ENVIRONMENTS = {"Infinity": "v1", "Infinity_v2": "v2", "Infinity_v3": "v3"}


def run(folder: Path, only: re.Pattern[str] | None = None) -> list[CaseResult]:
    """Run every case of the folder whose name matches `only`."""
    results: list[CaseResult] = []
    for name, runner in (
        ("spectra", run_spectra),
        ("selection", run_selection),
        ("skipvar decisions", run_decisions),
        ("skipvar features", run_features),
        ("environments", run_environments),
    ):
        if only is None or only.search(name):
            checks = Checks(name)
            runner(folder, checks)
            results += checks.results.values()
    return results


def run_spectra(folder: Path, checks: Checks) -> None:
    """Radial profiles of codes on even, odd and single-cell grids."""
    tensors = load_file(folder / "dft_and_selection.safetensors")
    for name in sorted(tensors):
        if name.startswith("dft_") and name.endswith("_in"):
            expected = tensors[name.removesuffix("in") + "out"]
            checks.near(name.removesuffix("_in"), radial_spectrum(tensors[name]), expected, 3e-4)


def run_selection(folder: Path, checks: Checks) -> None:
    """Kept tokens in order, and the tensor with their doubled values put back."""
    tensors = load_file(folder / "dft_and_selection.safetensors")
    about = json.loads((folder / "dft_and_selection.json").read_text(encoding="utf-8"))
    grid, cache_grid = tuple(about["grid"]), tuple(about["cache_grid"])
    stream, entropy = tensors["sel_x"], -tensors["sel_neg_entropy"]
    base = resize_tokens(tensors["sel_cache_3x3"], cache_grid, grid)  # type: ignore[arg-type]
    for case in about["cases"]:
        name = f"sel_{case['name']}"
        kept = PruningConfig().kept_tokens(stream.shape[1], case["ratio"])
        indices = SELECTIONS[METHODS[case["mode"]]](Evidence(stream, entropy), kept)
        checks.equal(f"{case['mode']}: kept", indices, tensors[f"{name}_idx"])
        update = gather(stream, indices) * about["merged_values_multiplied_by"]
        restored = scatter(base, indices, update)
        checks.near(f"{case['mode']}: restored", restored, tensors[f"{name}_unmerged"], 1e-6)
        bare = scatter(torch.zeros_like(stream), indices, update)
        expected = tensors[f"{name}_unmerged_nocache"]
        checks.near(f"{case['mode']}: restored without cache", bare, expected, 1e-6)


def run_decisions(folder: Path, checks: Checks) -> None:
    """Classes and scores of every published decision set on listed features."""
    recorded = json.loads((folder / "skipvar.json").read_text(encoding="utf-8"))
    for row in recorded["decision_table"]:
        for name, stages in row["decisions"].items():
            model = DecisionModel.load(name)
            for stage, expected in stages.items():
                features = np.array(row["features"])
                scores = torch.from_numpy(model.scores(stage, features))
                wanted = torch.from_numpy(np.array(expected["scores"]))
                checks.near(f"{name} scores", scores, wanted, 1e-6)
                got = torch.tensor(model.classify(stage, features))
                checks.equal(f"{name} {stage}", got, torch.tensor(expected["class"]))


def run_features(folder: Path, checks: Checks) -> None:
    """The two features of recorded pairs of images, and the decisions that follow."""
    recorded = json.loads((folder / "skipvar.json").read_text(encoding="utf-8"))
    places = [folder.parent / "eval_cases", folder.parent / "evaluation"]
    images = next((place for place in places if place.is_dir()), None)
    if images is None:
        checks.not_run("features", f"the images are not in {places[0]}")
        return
    for row in recorded["features"]:
        new, old = (_read(images / row[part]) for part in ("new", "old"))
        change = edge_difference(new, old)
        checks.near("edge difference", change, torch.tensor([row["hf_diff"]]), 1e-5)
        for cutoff in (0.4, 0.25):
            share = high_frequency_share(new, cutoff)
            expected = torch.tensor([row[f"hf_ratio_{cutoff}"]])
            checks.near(f"high-frequency share {cutoff}", share, expected, 1e-5)
        features = np.array([float(change), float(high_frequency_share(new))])
        for name, stages in row["decisions"].items():
            for stage, expected_class in stages.items():
                got = torch.tensor(DecisionModel.load(name).classify(stage, features))
                checks.equal(f"{name} {stage}", got, torch.tensor(expected_class))


def run_environments(folder: Path, checks: Checks) -> None:
    """The three old environments, played again: rewards, infos and observations of every step."""
    file = folder / "env_traces.json"
    if not file.is_file():
        return
    recorded = json.loads(file.read_text(encoding="utf-8"))
    for name, version in ENVIRONMENTS.items():
        if name in recorded["versions"]:
            env = make_environment(version, recorded["sides"])
            for episode in recorded["versions"][name]["episodes"]:
                replay_episode(env, version, episode, checks)


def make_environment(version: str, sides: Sequence[int]) -> PruningEnv:
    """Our environment in the form of one of theirs, on the stand-in that they were recorded on."""
    return PruningEnv(
        StandInGenerator(sides),
        [StandInRequest.of("any")],
        reward=version,
        obs_mode=version,
        action_mode="box_v1" if version == "v1" else "box_exact",
        # v3 ran the stages before the last four inside reset; the others stepped through them
        first_controlled_stage=max(0, len(sides) - 4) if version == "v3" else 0,
        scorers=scorers(),
    )


def replay_episode(
    env: PruningEnv, version: str, episode: Mapping[str, Any], checks: Checks
) -> None:
    """Take the recorded actions and compare every step.

    A step whose observation is a text was made up by v2 when a reference was missing: the episode
    ended there with reward 0. That is not reproduced, so only the start of such an episode counts.
    """
    request = StandInRequest.of(episode["prompt"])
    checks.equal(f"{version} seed", torch.tensor(request.seed), torch.tensor(episode["base_seed"]))
    observation, _ = env.reset(options={"request": request})
    _compare_observation(f"{version} first observation", observation, episode["reset_obs"], checks)
    for step in episode["steps"]:
        if isinstance(step["obs"], str):
            break
        action = np.array([step["action"]], np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        _compare_observation(f"{version} observation", observation, step["obs"], checks)
        checks.near(f"{version} reward", as_tensor(reward), as_tensor(step["reward"]), 1e-5)
        ends = torch.tensor([terminated, truncated])
        checks.equal(f"{version} end", ends, torch.tensor([step["terminated"], step["truncated"]]))
        for name, expected in step["info"].items():
            tolerance = 1e-3 if name == "psnr" else 1e-5
            checks.near(f"{version} {name}", as_tensor(info[name]), as_tensor(expected), tolerance)


def _compare_observation(
    quantity: str, observation: np.ndarray, expected: Mapping[str, Any], checks: Checks
) -> None:
    shape = torch.tensor(observation.shape)
    checks.equal(f"{quantity}: shape", shape, torch.tensor(expected["shape"]))
    plane = torch.full(observation.shape[1:], expected["plane"])
    checks.near(f"{quantity}: plane", as_tensor(observation[-1]), plane, 1e-5)
    for name, block in (("mean_0_32", observation[:32]), ("mean_32_64", observation[32:64])):
        if expected[name] is not None:
            mean = torch.tensor(block.astype(np.float64).mean())
            checks.near(f"{quantity}: {name}", mean, as_tensor(expected[name]), 1e-5)
    samples = [float(observation[place]) for place in SAMPLES if place[0] < len(observation) - 1]
    checks.near(f"{quantity}: samples", as_tensor(samples), as_tensor(expected["samples"]), 1e-5)


def _read(path: Path) -> Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
