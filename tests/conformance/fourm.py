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
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fourm_backend.checkpoints import load_model
from fourm_backend.config import ModelConfig, build
from fourm_backend.decoding import ask, read_context
from fourm_backend.forward import forward, losses
from fourm_backend.generate import (
    generate,
    generate_iter,
    generate_multi_guided,
    generate_sam_dense,
)
from fourm_backend.modalities import EGOM2P, REGISTRY, TEXT_LIKE
from fourm_backend.model import FourM
from fourm_backend.packing import embed
from fourm_backend.sampling import SequentialNoise
from fourm_backend.schedule import Step, build_chained_generation_schedules
from fourm_backend.text import load_text_tokenizer
from tests.conformance.checks import Checks
from tests.conformance.fourm_helpers import check_helpers
from tests.conformance.fourm_model import build_model, meta_shapes, rebuild
from tests.conformance.fourm_motion import check_motion_tokenizer
from tests.conformance.result import CaseResult

NEAR = 1e-5
Tensors = dict[str, Tensor]


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
                cases.append((label, _generation(folder, model, group["file"], name, case)))
    if (folder / "manifest_egom2p.json").is_file():
        manifest = json.loads((folder / "manifest_egom2p.json").read_text(encoding="utf-8"))
        cases.append(("genego/forward", lambda checks: check_ego(folder, manifest, checks)))
        for name, case in manifest["cases"].items():
            case = _ego_case(case)
            one = _generation(folder, manifest, manifest["file"], name, case)
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


def check_forward(folder: Path, entry: dict[str, Any], checks: Checks) -> None:
    """Every intermediate value of a plain forward pass, and the losses."""
    model = build_model(folder, entry)
    tensors = load_file(folder / f"{entry['name']}.safetensors")
    order = entry["encoder_order"]
    sample = rebuild(tensors, "in", order)
    for name in sample:
        for side, module in (("enc", model.encoder_embeddings), ("dec", model.decoder_embeddings)):
            if name not in module or f"{side}_emb/{name}/x" not in tensors:
                continue
            if side == "enc":
                content, places = embed(model, name, sample[name])
            else:
                decoder = model.target(name)
                content = decoder.token_emb(sample[name]["tensor"].flatten(1).long())
                places = decoder.places(sample[name]["target_mask"])
            checks.near("embeddings", content, tensors[f"{side}_emb/{name}/x"], NEAR)
            checks.near("embeddings", places, tensors[f"{side}_emb/{name}/emb"], NEAR)
    counts = entry["num_encoder_tokens"], entry["num_decoder_tokens"]
    result = forward(model, sample, *counts, entry["decoder_order_used"])
    content, places, ignored = model.with_registers(
        result.inputs.content, result.inputs.places, result.inputs.ignored
    )
    registers = content.shape[1] - result.inputs.content.shape[1]
    tags = torch.cat([torch.full((len(content), registers), -1), result.inputs.tags], dim=1)
    packed = result.targets.packed
    for name, value in {
        "enc/tokens": content,
        "enc/emb": places,
        "enc/out": result.encoded,
        "dec/context": result.context,
        "dec/tokens": packed.content,
        "dec/emb": packed.places,
        "dec/out": result.output,
    }.items():
        checks.near(name, value, tensors[name], NEAR)
    assert ignored is not None
    for name, value in {
        "enc/mask": ignored,
        "enc/mod_mask": tags,
        "dec/mask": packed.ignored,
        "dec/mod_mask": packed.tags,
        "dec/attn_mask": result.targets.hidden,
        "dec/target_ids": result.targets.ids,
    }.items():
        checks.equal(name, value, tensors[name])
    for name, logits in result.logits.items():
        checks.near("logits", logits, tensors[f"logits_sel/{name}"], NEAR)
        everywhere = model.target(name).to_logits(result.output)
        checks.near("logits", everywhere, tensors[f"logits_all/{name}"], NEAR)
    _check_losses(model, result, entry, checks)


def _check_losses(model: FourM, result: Any, entry: dict[str, Any], checks: Checks) -> None:
    for kind in ("mod", "token", "weighted_mod"):
        if f"loss_{kind}" in entry:
            total, each = losses(result, model, kind)
            checks.near("losses", total, torch.tensor(entry[f"loss_{kind}"]), NEAR)
            for name, loss in entry.get("loss_per_mod", {}).items():
                checks.near("losses", each[name], torch.tensor(loss), NEAR)


def check_ego(folder: Path, manifest: dict[str, Any], checks: Checks) -> None:
    """The plain forward pass of EgoM2P."""
    model = build_model(folder, manifest)
    every = load_file(folder / manifest["file"])
    tensors = {name.removeprefix("forward/"): value for name, value in every.items()}
    entry = manifest["forward"]
    sample = rebuild(tensors, "in", list(manifest["modalities"]))
    counts = entry["num_encoder_tokens"], entry["num_decoder_tokens"]
    result = forward(model, sample, *counts, entry["decoder_order_used"])
    packed = result.targets.packed
    checks.equal("enc_mask", result.inputs.ignored, tensors["enc_mask"])
    checks.equal("attn", result.targets.hidden, tensors["attn"])
    checks.near("context", result.context, tensors["context"], NEAR)
    checks.near("y0", packed.content + packed.places, tensors["y0"], NEAR)
    checks.near("y", result.output, tensors["y"], NEAR)
    for name in entry["decoder_order_used"]:
        logits = model.target(name).to_logits(result.output)
        checks.near("logits", logits, tensors[f"logits_all/{name}"], NEAR)
    _check_losses(model, result, entry, checks)


def _ego_case(case: dict[str, Any]) -> dict[str, Any]:
    """An EgoM2P case in the words of 4M's: single values hold for all targets."""
    count = len(case["target_domains"])
    return {
        **case,
        "mode": "generate",
        "autoregression_schemes": [case["scheme"]] * count,
        "token_decoding_schedules": [case["token_schedule"]] * count,
        "temp_schedules": [case["temp_schedule"]] * count,
        "cfg_schedules": ["constant"] * count,
    }


BUILDER = (
    "cond_domains",
    "target_domains",
    "tokens_per_target",
    "autoregression_schemes",
    "decoding_steps",
    "token_decoding_schedules",
    "temps",
    "temp_schedules",
    "cfg_scales",
    "cfg_schedules",
    "cfg_grow_conditioning",
)


def _generation(
    folder: Path, model_entry: dict[str, Any], file: str, name: str, case: dict[str, Any]
) -> Callable[[Checks], None]:
    def check(checks: Checks) -> None:
        model = build_model(folder, model_entry)
        every = load_file(folder / file)
        tensors = {
            key.removeprefix(f"{name}/"): value
            for key, value in every.items()
            if key.startswith(f"{name}/")
        }
        path = folder / "text_tokenizer_tiny.json"
        tokenizer = load_text_tokenizer(path) if path.is_file() else None
        check_generation(model, case, tensors, checks, tokenizer)

    return check


def check_generation(
    model: FourM, case: dict[str, Any], tensors: Tensors, checks: Checks, tokenizer: Any = None
) -> None:
    """A seeded run: positions and logits of every pass, tokens and masks after every step."""
    schedule = [
        Step(**{**step, "cfg_cond_domains": tuple(step["cfg_cond_domains"])})
        for step in case["schedule"]
    ]
    if "tokens_per_target" in case:
        built = build_chained_generation_schedules(**{key: case[key] for key in BUILDER})
        checks.near("schedule", *_schedules_as_numbers(built, schedule), 1e-12)
    trace = Trace(tensors, checks, schedule)
    filters = {"top_k": case.get("top_k", 0.0), "top_p": case.get("top_p", 0.0)}
    mode = case["mode"]
    if mode == "multi_guided":
        conds = [
            rebuild(tensors, f"in_cond{index}", names) for index, names in enumerate(case["conds"])
        ]
        uncond = rebuild(tensors, "in_uncond", case["uncond"])
        noise = SequentialNoise(case["seed"], same_every_step=not case["corrected"])
        made = generate_multi_guided(
            model, uncond, conds, schedule, **filters, noise=noise, record=trace
        )
        targets = list(dict.fromkeys(step.target_domain for step in schedule))
    elif mode == "sam_dense":
        sample = rebuild(tensors, "in", _names(tensors))
        made = generate_sam_dense(
            model, sample, schedule, tokenizer, case["batch_size"], seed=case["seed"]
        )
        targets = ["sam_instance"]
    else:
        targets = case["target_domains"]
        sample = rebuild(tensors, "in", [*case["cond_domains"], *targets])
        options: Any = {**filters, "text_tokenizer": tokenizer, "seed": case["seed"]}
        if mode == "iter":
            made = sample
            steps = generate_iter(model, sample, schedule, **options, record=trace)
            for index, made in enumerate(steps):
                trace.compare(f"iter{index:03}", made[schedule[index].target_domain])
        else:
            made = generate(model, sample, schedule, **options, record=trace)
    for name in targets:
        trace.compare(f"out/{name}", made[name], text=model.config.outputs[name].type in TEXT_LIKE)


def _names(tensors: Tensors) -> list[str]:
    return list(dict.fromkeys(key.split("/")[1] for key in tensors if key.startswith("in/")))


def _schedules_as_numbers(*schedules: list[Step]) -> tuple[Tensor, Tensor]:
    """Two schedules as equally long vectors that differ where the schedules do."""
    one, other = (
        torch.tensor(
            [
                [
                    hash((step.target_domain, step.scheme, step.cfg_cond_domains)) % 2**30,
                    -1.0 if step.num_tokens is None else step.num_tokens,
                    step.temperature,
                    *(step.cfg_scale if isinstance(step.cfg_scale, list) else [step.cfg_scale]),
                ]
                for step in schedule
            ],
            dtype=torch.float64,
        )
        for schedule in schedules
    )
    return one, other


class Trace:
    """Compares what a run records with the numbers of its steps."""

    def __init__(self, tensors: Tensors, checks: Checks, schedule: list[Step]):
        self.tensors, self.checks, self.schedule = tensors, checks, schedule
        self.step = self.passes = 0
        self.text_logits: list[Tensor] = []

    def __call__(self, name: str, value: Any) -> None:
        prefix = f"step{self.step:03}"
        if name == "ar_logits":
            self.text_logits.append(value)
        elif name == "pass":
            logits, positions = value
            expected = self.tensors[f"{prefix}/pass{self.passes}_pos"]
            self.checks.equal("positions", positions, expected)
            expected = self.tensors[f"{prefix}/pass{self.passes}_logits"]
            self.checks.near("logits", logits, expected, NEAR)
            self.passes += 1
        elif name == "drawn":
            self.checks.equal("samples", value.all_tokens, self.tensors[f"{prefix}/samples"])
            expected = self.tensors[f"{prefix}/sample_probs"]
            # An error of the logits is divided by the temperature.
            temperature = self.schedule[self.step].temperature
            tolerance = NEAR / temperature if 0 < temperature < 1 else NEAR
            self.checks.near("sample_probs", value.confidence, expected, tolerance)
        elif name == "step":
            text = bool(self.text_logits)
            if text:
                expected = self.tensors[f"{prefix}/ar_last_logits"]
                self.checks.near("logits", torch.stack(self.text_logits), expected, NEAR)
            self.compare(prefix, value, text)
            self.step, self.passes, self.text_logits = self.step + 1, 0, []

    def compare(self, prefix: str, entry: Any, text: bool = False) -> None:
        """A target with what is recorded of it."""
        for key in ("tensor", "input_mask", "decoder_attention_mask"):
            if f"{prefix}/{key}" in self.tensors and key in entry:
                self.checks.equal(key, entry[key], self.tensors[f"{prefix}/{key}"])
        expected = self.tensors[f"{prefix}/target_mask"]
        if text:  # recorded: a copy of input_mask, as if a finished text were still to be made
            self.checks.equal(
                "target_mask (corrected)", entry["target_mask"], torch.ones_like(expected)
            )
        else:
            self.checks.equal("target_mask", entry["target_mask"], expected)


def check_loading(folder: Path, source: str, checks: Checks) -> None:
    """Weights in published form: names, aliases, logits."""
    model = load_model(folder / source)
    tensors = load_file(folder / "fm_tiny_logits.safetensors")
    visible = torch.zeros(1, 16, dtype=torch.bool)
    entry = {"tensor": tensors["input"], "input_mask": visible}
    context = read_context(model, {"tok_imagebind_global": entry})
    logits = ask(model, context, "tok_dinov2_global", torch.arange(16)[None])
    checks.near("logits", logits, tensors["logits"], NEAR)


def check_shapes(listing: dict[str, Any], checks: Checks) -> None:
    """Names and shapes of all weights of a published model."""
    if "config_reconstructed" in listing:
        config, _ = ModelConfig.from_file(listing["config_reconstructed"])
        shapes, parameters = meta_shapes(config)
    elif "domains" in listing:
        modalities = {name: EGOM2P[name] for name in listing["domains"]}
        shapes, parameters = meta_shapes(
            ModelConfig(build("base", video=True), modalities, modalities)
        )
    else:
        from tests.conformance.fourm_motion import tokenizer_shapes

        shapes, parameters = tokenizer_shapes(listing)
    expected = listing["state_dict"]
    wrong = {name for name in set(shapes) | set(expected) if shapes.get(name) != expected.get(name)}
    checks.near("names and shapes that differ", torch.tensor(len(wrong)), torch.tensor(0), 0.0)
    counted = torch.tensor(listing["unique_params"])
    checks.equal("parameters", torch.tensor(parameters), counted)


def check_registry(listing: dict[str, Any], checks: Checks) -> None:
    """Every modality that has an embedding, with its sizes."""
    for name, entry in listing.items():
        if entry["encoder"] is None and entry["decoder"] is None:
            continue
        known, given = REGISTRY.get(name), entry["encoder"]
        same = known is not None and (
            known.type == entry["type"]
            and known.id == entry["id"]
            and known.kind == given["kind"]
            and known.vocab_size == entry.get("vocab_size", 0)
            and known.max_length in (given.get("max_length"), 0, 30)
            and known.max_tokens == entry["max_tokens"]
            and known.patch_size == entry.get("patch_size")
            and known.learned_positions == (not given.get("sincos_pos_emb", True))
            and known.decodable == (entry["decoder"] is not None)
        )
        checks.equal(f"modality {name}", torch.tensor(same), torch.tensor(True))
