"""4M and EgoM2P against recorded numbers: forward passes, generation, helpers, key lists.

A folder holds `manifest_4m.json`, `manifest_egom2p.json`, `helpers.json` with
`helpers.safetensors`, published-style weights with `fm_tiny_logits.safetensors`, or lists of
weights' names and shapes (`*.json` with `state_dict`); here, or in its folders `fixtures` and
`shapes`. Tolerances on CPU float32: intermediates and logits 1e-5, everything whole exact. Where
the recorded system is known to be wrong, the check says `corrected`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import torch

from tests.conformance.checks import Checks
from tests.conformance.fourm_forward import check_ego, check_forward
from tests.conformance.fourm_generation import ego_case, generation_case
from tests.conformance.fourm_helpers import check_helpers
from tests.conformance.fourm_motion import check_motion_tokenizer
from tests.conformance.fourm_weights import check_loading, check_registry, check_shapes
from tests.conformance.result import CaseResult


def run(folder: Path, only: re.Pattern[str] | None = None) -> list[CaseResult]:
    """Run every case of the folder whose name matches `only`."""
    results: list[CaseResult] = []
    for part in (folder, *(folder / name for name in ("fixtures", "shapes"))):
        for name, check in _cases(part):
            if only is None or only.search(name):
                checks = Checks(name)
                with torch.no_grad():
                    check(checks)
                results += checks.results.values()
    return results


def _cases(folder: Path) -> list[tuple[str, Callable[[Checks], None]]]:
    cases: list[tuple[str, Callable[[Checks], None]]] = []
    if (folder / "manifest_4m.json").is_file():
        manifest = json.loads((folder / "manifest_4m.json").read_text(encoding="utf-8"))
        for entry in manifest["forward"]:
            cases.append((entry["name"], lambda checks, e=entry: check_forward(folder, e, checks)))
        for group in manifest["generation"]:
            model = next(e for e in manifest["forward"] if e["model"] == group["model"])
            for name, case in group["cases"].items():
                label = f"{Path(group['file']).stem}/{name}"
                cases.append((label, generation_case(folder, model, group["file"], name, case)))
    if (folder / "manifest_egom2p.json").is_file():
        manifest = json.loads((folder / "manifest_egom2p.json").read_text(encoding="utf-8"))
        cases.append(("genego/forward", lambda checks: check_ego(folder, manifest, checks)))
        for name, case in manifest["cases"].items():
            case = ego_case(case)
            one = generation_case(folder, manifest, manifest["file"], name, case)
            cases.append((f"genego/{name}", one))
        for name, entry in manifest.get("tokenizers", {}).items():
            path = folder / entry["file"]
            cases.append(
                (
                    f"tokenizer/{name}",
                    lambda checks, p=path, e=entry: check_motion_tokenizer(p, e, checks),
                )
            )
    if (folder / "helpers.json").is_file():
        cases.append(("helpers", lambda checks: check_helpers(folder, checks)))
    if (folder / "fm_tiny_logits.safetensors").is_file():
        for source in ("fm_hub_tiny", "fm_single_file_tiny.safetensors"):
            if (folder / source).exists():
                cases.append((source, lambda checks, s=source: check_loading(folder, s, checks)))
    for path in sorted(folder.glob("*.json")):
        listing = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(listing, dict) and "state_dict" in listing:
            cases.append((f"shapes/{path.stem}", lambda checks, v=listing: check_shapes(v, checks)))
        elif path.stem.startswith("modalities_"):
            cases.append((path.stem, lambda checks, v=listing: check_registry(v, checks)))
    return cases
