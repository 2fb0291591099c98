"""SignON sign-language embedding against recorded numbers.

A folder holds `manifest.json` whose `cases` name safetensors files (keypoint stages, PoseFormer,
both PTN generations, position tables), Lightning checkpoints with what their predict script wrote,
and videos with the keypoints that MediaPipe found. Tolerances on CPU float32: 2e-5 for small
models, 1e-4 for wide ones; float64 stages 1e-12, float32 stages 1e-5 of the value; masks exact.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from base.weights import load_strict
from sign_backend.checkpoint import SignModel, build_model, load_checkpoint
from sign_backend.clip import Keypoints
from sign_backend.config import SignConfig
from sign_backend.embed import embed, prepare
from sign_backend.normalise import normalise, to_features, without_nan
from sign_backend.poseformer import PoseFormer
from sign_backend.positions import frequencies_of, sinusoids
from sign_backend.postprocess import clean, fill_zeros, flatten, impute, scale_aspect
from tests.conformance.checks import Checks
from tests.conformance.result import CaseResult
from tests.conformance.sign_tracker import check_tracker

Tensors = dict[str, Tensor]
_SIXTEEN_TO_NINE = 9, 16  # of every recorded video whose ratio is measured
_WIDE = 64
_PARTS_OF_CASES = ("data", "weights")


def run(folder: Path, only: re.Pattern[str] | None = None) -> list[CaseResult]:
    """Run every case of the folder whose name matches `only`."""
    manifest = folder / "manifest.json"
    cases = json.loads(manifest.read_text(encoding="utf-8"))["cases"] if manifest.is_file() else {}
    results: list[CaseResult] = []
    for name, entry in cases.items():
        kind = entry.get("kind", "data")
        if kind in _PARTS_OF_CASES or (only is not None and not only.search(name)):
            continue
        checks = Checks(name)
        if kind in CHECKS:
            with torch.no_grad():
                CHECKS[kind](folder, entry, checks)
        else:
            checks.not_run("all", f"unknown kind {kind!r}; known are {', '.join(CHECKS)}")
        results += checks.results.values()
    return results


def check_keypoints(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """Every stage from raw keypoints to features."""
    stages = _v03_stages if entry["generation"].startswith("v0.3") else _current_stages
    tensors = load_file(folder / entry["file"])
    for scenario in dict.fromkeys(key.partition(".")[0] for key in tensors):
        made = stages(tensors[f"{scenario}.raw"], entry["inverse_aspect_ratio"])
        for name, value in made.items():
            if f"{scenario}.{name}" not in tensors:
                continue
            expected = tensors[f"{scenario}.{name}"]
            if expected.dtype == torch.bool:
                checks.equal(name, value, expected)
            else:
                near(checks, name, value, expected)


def _current_stages(raw: Tensor, ratio: float) -> Tensors:
    rescaled = scale_aspect(raw.numpy(), ratio)
    imputed = impute(rescaled)
    zero_filled = fill_zeros(imputed)
    model_input = torch.from_numpy(zero_filled).float()
    normalised = normalise(model_input)
    features = to_features(normalised)
    finite = without_nan(features)
    return {
        "rescaled": torch.from_numpy(rescaled),
        "imputed": torch.from_numpy(imputed),
        "zero_filled": torch.from_numpy(zero_filled),
        "model_input_f32": model_input,
        "normalised": normalised,
        "features": features,
        "features_nan0": finite,
        "frame_mask": finite.sum(dim=1) == 0.0,
    }


def _v03_stages(raw: Tensor, ratio: float) -> Tensors:
    cleaned = clean(fill_zeros(impute(scale_aspect(raw.numpy(), ratio))))
    return {
        "postprocessed": torch.from_numpy(cleaned),
        "features_3d": torch.from_numpy(flatten(cleaned, two_dimensions=False)),
        "features_2d": torch.from_numpy(flatten(cleaned, two_dimensions=True)),
    }


def check_model(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """A padded batch as the original pads it, what happens on the way, and each clip alone."""
    tensors = load_file(folder / entry["file"])
    model = _build(folder, entry, tensors)
    inputs = tensors["in.inputs_TBF" if model.config.takes_features else "in.model_inputs"]
    languages, lengths = tensors.get("in.language_ids"), tensors["in.lengths"]
    told = lengths if model.config.takes_features else None
    tolerance = 1e-4 if model.config.d_hidden >= _WIDE else 2e-5
    got, seen = _watched(model, inputs, languages, told)
    _check_steps(model, inputs, seen, tensors, checks, tolerance)
    for name, value in got.items():
        for form in (name, f"{name}_padded", f"{name}_BTD"):
            if f"out.{form}" in tensors:
                checks.near(form, value, tensors[f"out.{form}"], tolerance)
    alone_in_batch, _ = _watched(model, inputs, languages, lengths)
    for index, length in enumerate(lengths.tolist()):
        if f"single{index}.CLS" not in tensors:
            continue
        language = None if languages is None else languages[index : index + 1]
        alone, _ = _watched(model, inputs[:length, index : index + 1], language, None)
        for name, value in alone.items():
            expected = tensors[f"single{index}.{name}"]
            checks.near(f"alone: {name}", value[0], expected, tolerance)
            row = alone_in_batch[name][index]
            row = row[:length] if expected.ndim == 2 else row
            checks.near(f"alone in a batch: {name}", row, expected, tolerance)


def _build(folder: Path, entry: dict[str, Any], tensors: Tensors) -> SignModel:
    """The model of a case with its weights, which may lie in further files and in half precision.

    The position table is not recorded with the weights; it is that of the formula.
    """
    for file in entry.get("weight_shards", []):
        tensors |= load_file(folder / file)
    known = SignConfig.__dataclass_fields__
    values = {name: value for name, value in entry["config"].items() if name in known}
    classes = values["num_classes"]
    values["num_classes"] = tuple(classes) if isinstance(classes, list) else (classes,)
    if entry["kind"] == "PTN-v0.3":
        values |= {"generation": "v0.3", "mediapipe_2d": values["d_pose"] == 134}
    family = entry["kind"].partition("-")[0]
    model = build_model(SignConfig(model_name=family, **values)).eval()
    weights = {k.removeprefix("sd."): v for k, v in tensors.items() if k.startswith("sd.")}
    tables = {name: value for name, value in model.state_dict().items() if name.endswith(".pe")}
    load_strict(model, tables | weights, entry["file"])
    return model


def _watched(
    model: SignModel, inputs: Tensor, languages: Tensor | None, lengths: Tensor | None
) -> tuple[Tensors, Tensors]:
    """Every kind of embedding, batch first, and the outputs of all parts by name."""
    seen: Tensors = {}
    kinds: Tensors = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, given: Any, output: Any) -> None:
            seen[name] = output[0] if isinstance(output, tuple) else output
            seen[f"{name}:in"] = given[0]

        return hook

    def keep_mask(module: Any, given: Any, named: dict[str, Any]) -> None:
        seen["ignored"] = named["src_key_padding_mask"] if named else given[1]

    watched = model.blocks[0] if isinstance(model, PoseFormer) else model.self_attention
    handles = [watched.register_forward_pre_hook(keep_mask, with_kwargs=True)]
    handles += [m.register_forward_hook(keep(n)) for n, m in model.named_modules() if n]
    for kind in ("spatial", "temporal"):
        model.setup_inference_hook(kind, lambda _, __, out, k=kind: kinds.__setitem__(k, out))
    scores = model(inputs, languages, lengths)
    for kind in ("spatial", "temporal"):
        model.reset_inference_hook(kind)
    for handle in handles:
        handle.remove()
    if not model.batch_first:
        seen |= {"spatial_TBD": kinds["spatial"], "encoder_TBD": kinds["temporal"]}
        kinds = {kind: value.transpose(0, 1) for kind, value in kinds.items()}
    rows = kinds["temporal"]
    kinds |= {"temporal": rows[:, 1:], "CLS": rows[:, 0], "probabilities": scores}
    return kinds, seen


def _check_steps(
    model: SignModel,
    inputs: Tensor,
    seen: Tensors,
    tensors: Tensors,
    checks: Checks,
    tolerance: float,
) -> None:
    """What is recorded from inside a pass."""
    if not model.config.takes_features:
        features = to_features(normalise(inputs))
        if "mid.features_TBF_with_nan" in tensors:
            near(checks, "features", features, tensors["mid.features_TBF_with_nan"])
    if isinstance(model, PoseFormer):
        blocks = model.config.num_attention_layers
        inside = {"mid.after_positional": seen["blocks.0:in"][:, 1:]}
        inside["mid.after_final_norm"] = model.norm(seen[f"blocks.{blocks - 1}"])
        inside |= {f"mid.block{index}": seen[f"blocks.{index}"] for index in range(blocks)}
        for index in range(4):
            inside[f"mid.conv{index}_output_BCT"] = seen[f"input_convs.{index}"]
            inside[f"mid.filter{index}_output_BCT"] = seen[f"filters.{index}.2"]
        masks = {"mid.frame_mask": seen["ignored"][:, 1:]}
    else:
        inside = {
            "mid.after_positional_TBD": seen["self_attention:in"][1:],
            "out.spatial_TBD": seen["spatial_TBD"],
            "out.encoder_TBD": seen["encoder_TBD"],
        }
        masks = {"mid.key_padding_mask": seen.get("ignored")}
    for name, value in inside.items():
        if name in tensors:
            checks.near(name.partition(".")[2], value, tensors[name], tolerance)
    for name, value in masks.items():
        if name in tensors:
            checks.equal(name.partition(".")[2], value, tensors[name])


def check_positions(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """Rows of the position table, for every width that is recorded.

    Processors differ in the last bit of some exponentials, and row 999 makes 3e-5 of it. So each
    frequency may be that of this processor or one of its two neighbours; the sines and cosines of
    all rows must then agree.
    """
    tensors = load_file(folder / entry["file"])
    rows = tensors.pop("rows")
    for name, expected in tensors.items():
        width, count = int(name.rpartition("_")[2]), int(rows.max()) + 1
        here = frequencies_of(width)
        near_ones = [here, *(torch.nextafter(here, torch.tensor(end)) for end in (0.0, 2.0))]
        tables = torch.stack([sinusoids(count, width, each)[rows] for each in near_ones])
        errors = (tables - expected).abs().amax(1)  # [3, width]
        of_frequencies = F.pad(errors, (0, width % 2)).unflatten(1, (-1, 2)).amax(2)
        nearest = of_frequencies.argmin(0).repeat_interleave(2)[:width]
        table = tables.gather(0, nearest.expand(1, len(rows), width))[0]
        checks.near(name, table, expected, 5e-7)


def check_checkpoint(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """A Lightning checkpoint, from raw keypoints to what the predict script wrote."""
    model = load_checkpoint(folder / entry["ckpt"])
    given = load_file(folder / entry.get("keypoints", "e2e_keypoints.safetensors"))
    by_name = {Path(path).stem: points.numpy() for path, points in given.items()}
    expected: dict[tuple[str, str], Tensors] = {}
    for key, value in load_file(folder / entry["outputs"]).items():
        batch, kind, file = key.split("/")
        expected.setdefault((batch, kind), {})[file.removesuffix(".npy")] = value
    tolerance = 1e-4 if model.config.d_hidden >= _WIDE else 2e-5
    language = entry.get("language_id", 0)
    for (batch, kind), arrays in expected.items():
        raw = [Keypoints(by_name[name], *_SIXTEEN_TO_NINE) for name in arrays]
        clips = [prepare(each, model.config, language=language, parity=True) for each in raw]
        size = int(batch.removeprefix("b"))
        made = [
            row
            for start in range(0, len(clips), size)
            for row in embed(
                model,
                clips[start : start + size],
                kind,
                language=language,
                reference_padding=True,
            )
        ]
        alone = embed(model, clips, kind, language=language)
        for index, wanted in enumerate(arrays.values()):
            checks.near(f"{kind}, {batch}", torch.from_numpy(made[index]), wanted, tolerance)
            if size == 1:
                checks.near(f"{kind}, alone", torch.from_numpy(alone[index]), wanted, tolerance)


def near(checks: Checks, quantity: str, got: Tensor, expected: Tensor) -> None:
    """NaN in the same places, and values within the tolerance of their number type."""
    if got.shape != expected.shape:
        checks.near(quantity, got, expected, 0.0)
        return
    checks.equal(f"{quantity}: NaN", got.isnan(), expected.isnan())
    known = (got != expected) & ~expected.isnan() & ~got.isnan()  # equal ones may be infinite
    if expected.dtype == torch.float64:
        checks.near(quantity, got[known], expected[known], 1e-12)
        return
    scale = expected[known].abs().clamp(min=1.0)
    checks.near(quantity, got[known] / scale, expected[known] / scale, 1e-5)


CHECKS: dict[str, Callable[[Path, dict[str, Any], Checks], None]] = {
    "keypoints": check_keypoints,
    "PoseFormer": check_model,
    "PTN-current": check_model,
    "PTN-v0.3": check_model,
    "positional_encoding": check_positions,
    "lightning-checkpoint-e2e": check_checkpoint,
    "mediapipe-smoke": check_tracker,
}
