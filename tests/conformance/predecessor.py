"""The predecessor's and SkipVAR's own numbers: spectra, token selection, restoration, decisions.

Tolerances: spectra 3e-4, restored tokens 1e-6, features 1e-5, scores 1e-6; kept tokens in their
order and classes exact.
"""

import json
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from agents.skipvar import DecisionModel
from infinity_backend.config import PruningConfig
from infinity_backend.high_frequency import edge_difference, high_frequency_share
from infinity_backend.pruning import gather, resize_tokens, scatter
from infinity_backend.selection import SELECTIONS, Evidence
from infinity_backend.spectrum import radial_spectrum
from tests.conformance.checks import Checks
from tests.conformance.result import CaseResult

FILES = "dft_and_selection.{json,safetensors}, skipvar.json (images in ../eval_cases)"
METHODS = {"l2": "fastvar", "entropy": "entropy", "hybrid": "hybrid"}  # theirs: ours


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
    """The three old environments' own rewards and observations."""
    if (folder / "env_traces.json").is_file():
        checks.not_run("rewards v1, v2, v3", "the old reward presets are not part of this version")


def _read(path: Path) -> Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
