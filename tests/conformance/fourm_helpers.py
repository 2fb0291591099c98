"""Schedules, filters, sampling, sentinels, tables and fresh samples against recorded numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from base.errors import ConfigError
from fourm_backend import positions, samples, schedule, temperatures, text
from fourm_backend.decoding import draw_tokens
from fourm_backend.modalities import REGISTRY, Modality, modality_id
from fourm_backend.sampling import (
    SequentialNoise,
    draw,
    filter_logits,
    generate_seed,
    probabilities,
)
from tests.conformance.checks import Checks

CAPTION = Modality("caption", "seq", "sequence", 64, max_length=14, max_tokens=14)
IMAGE = Modality("img", "img", "image_tokens", 64, (1, 5), 1)
VECTORS = Modality("emb", "seq_emb", "sequence_embeddings", max_length=4, channels=3)


def check_helpers(folder: Path, checks: Checks) -> None:
    """Everything in helpers.json and helpers.safetensors."""
    values = json.loads((folder / "helpers.json").read_text(encoding="utf-8"))
    _check_schedules(values, checks)
    _check_chains(values, checks)
    _check_text(folder, values, checks)
    tensors = load_file(folder / "helpers.safetensors")
    _check_filters(tensors, values["tensor_cases"], checks)
    _check_sampling(tensors, values["tensor_cases"], checks)
    _check_tables(tensors, checks)
    _check_samples(tensors, checks)


def _numbers(checks: Checks, name: str, got: Any, expected: Any, tolerance: float = 0.0) -> None:
    one, other = (torch.tensor(each, dtype=torch.float64) for each in (got, expected))
    checks.near(name, one, other, tolerance)


def _check_schedules(values: dict[str, Any], checks: Checks) -> None:
    for case in values["cosine_schedule"]:
        steps, tokens, expected = case["steps"], case["tokens"], case["out"]
        _numbers(
            checks, "cosine (as published)", schedule.cosine_schedule(steps, tokens, True), expected
        )
        ours = schedule.cosine_schedule(steps, tokens)
        if min(expected) > 0:
            _numbers(checks, "cosine", ours, expected)
        else:
            right = sum(ours) == tokens and min(ours) > 0 and len(ours) <= steps
            _numbers(checks, "cosine (corrected)", int(right), 1)
    for case in values["linear_schedule"]:
        got = schedule.linear_schedule(case["steps"], case["tokens"])
        _numbers(checks, "linear", got, case["out"])
    for case in values["linear_temp"]:
        got = temperatures.linear_temperatures(case["temp"], case["token_schedule"])
        _numbers(checks, "linear temperature", got, case["out"], 1e-12)
    for case in values["onex_temp"]:
        settings = case["max_t"], case["min_t"], case["power"], case["token_schedule"]
        got = temperatures.onex_temperatures(*settings)
        _numbers(checks, "onex temperature", got, case["out"], 1e-12)
    for case in values["decreasing_temp"]:
        got = temperatures.decreasing_temperatures(case["max"], case["min"], case["token_schedule"])
        _numbers(checks, "decreasing temperature", got, case["out"], 1e-12)
    for case in values["continue"]:
        got = schedule.continue_schedule(case["schedule"], case["num_current_tokens"])
        if isinstance(case["out"], dict):  # recorded: an IndexError when nothing is left
            _numbers(checks, "continue (corrected)", got, [])
        else:  # steps of no token, which cosine schedules had, are gone
            _numbers(checks, "continue", got, [count for count in case["out"] if count])


def _check_chains(values: dict[str, Any], checks: Checks) -> None:
    for number, case in enumerate(values["chained_schedules"]):
        arguments = dict(case["args"])
        if "error" in case:
            kinds = {*arguments["cfg_schedules"], *map(type, arguments["cfg_scales"])}
            if kinds & {"cosine", int}:  # recorded: errors; these are accepted
                made = schedule.build_chained_generation_schedules(**arguments)
                _numbers(checks, "chains (corrected)", len(made), 74)
            else:
                with pytest.raises(ConfigError):
                    schedule.build_chained_generation_schedules(**arguments)
                _numbers(checks, "chains that are refused", 0, 0)
            continue
        got = schedule.build_chained_generation_schedules(**arguments, legacy=True)
        expected = case["schedule"]
        _numbers(checks, "chains: steps", len(got), len(expected))
        for step, wanted in zip(got, expected, strict=False):
            same = (step.target_domain, step.scheme, step.num_tokens, list(step.cfg_cond_domains))
            names = ("target_domain", "scheme", "num_tokens", "cfg_cond_domains")
            _numbers(checks, "chains", int(same == tuple(wanted[name] for name in names)), 1)
            _numbers(
                checks,
                f"chains: temperature {number}",
                step.temperature,
                wanted["temperature"],
                1e-12,
            )
            _numbers(checks, "chains: guidance", step.cfg_scale, wanted["cfg_scale"])
    if "error" in values.get("modality_info_check", {}):
        with pytest.raises(ConfigError, match="autoregressive"):
            schedule.build_chained_generation_schedules(
                ["rgb@224"],
                ["caption"],
                [256],
                ["roar"],
                [4],
                ["linear"],
                [1.0],
                ["constant"],
                [1.0],
                ["constant"],
                modality_info=REGISTRY,
            )
        _numbers(checks, "chains that are refused", 0, 0)


def _check_text(folder: Path, values: dict[str, Any], checks: Checks) -> None:
    for case in values["generate_seed"]:
        _numbers(checks, "seeds (legacy)", generate_seed(*case["args"], legacy=True), case["out"])
    different = generate_seed(0, 1, 23) != generate_seed(0, 12, 3)
    _numbers(checks, "seeds (corrected)", int(different), 1)
    for name, number in values["modality_ids"].items():
        _numbers(checks, "modality ids", modality_id(name), number)
    for case in values["merge_span_masking"]:
        got = text.merge_spans(case["input"], case["decoder"], case["sentinels"])
        _numbers(checks, "merged spans", got, case["out"])
    for case in values["split_by_sentinel"]:
        spans = text.split_spans(case["seq"], case["sentinels"])
        same = {str(key): value for key, value in spans.items()} == case["out"]
        _numbers(checks, "split spans", int(same), 1)
    path = folder / "text_tokenizer_tiny.json"
    if path.is_file():
        tokenizer = text.load_text_tokenizer(path)
        known = set(values["sentinel_map_tiny"].values())
        _numbers(checks, "sentinels", int(text.sentinel_ids(tokenizer) == known), 1)
        for case in values["tiny_tokenizer_encode"]:
            _numbers(checks, "text ids", tokenizer.encode(case["text"]).ids, case["ids"])
            decoded = tokenizer.decode(case["ids"], skip_special_tokens=False)
            _numbers(checks, "text", int(decoded == case["decoded"]), 1)


def _filters(case: dict[str, Any]) -> tuple[int | float, float]:
    top_k = case["top_k"]
    return int(top_k) if case.get("top_k_type") == "int" else top_k, case["top_p"]


def _check_filters(tensors: dict[str, Tensor], cases: dict[str, Any], checks: Checks) -> None:
    for name, case in cases.items():
        if name.startswith(("plain_", "ties_")):
            source = tensors["logits_ties" if name.startswith("ties") else "logits"]
            got = filter_logits(source, *_filters(case))
            checks.equal("filtered logits", got, tensors[name])


def _check_sampling(tensors: dict[str, Tensor], cases: dict[str, Any], checks: Checks) -> None:
    for name, case in cases.items():
        if not name.startswith(("sample_", "select_")):
            continue
        noise, logits = SequentialNoise(case["manual_seed"]), tensors["logits"]
        noise.begin_step(0)
        if name.startswith("sample_"):
            chances = probabilities(logits, case["temperature"], *_filters(case))
            exponential = noise.exponential("img", torch.arange(6), logits.shape[1])
            tokens, confidence = draw(logits, chances, exponential)
            checks.equal("sampled tokens", tokens, tensors[f"{name}_tokens"])
            checks.near("chances", confidence, tensors[f"{name}_probs"], 1e-6)
        else:
            step = schedule.Step("img", "maskgit", case["num_select"], case["temperature"], 1.0, ())
            places = torch.arange(3).expand(2, -1)
            drawn = draw_tokens(logits.view(2, 3, -1), places, step, noise, *_filters(case))
            checks.equal("selected", drawn.positions, tensors[f"{name}_top_indices"])
            checks.equal("selected", drawn.tokens, tensors[f"{name}_top_samples"])
            checks.equal("selected", drawn.all_tokens, tensors[f"{name}_all"])


def _check_tables(tensors: dict[str, Tensor], checks: Checks) -> None:
    for name, expected in tensors.items():
        kind, _, sizes = name.partition("_")
        if kind == "pos1d":
            table = positions.positions_1d(expected.shape[1], expected.shape[2])
        elif kind == "pos2d" and "x" in sizes:
            height, width = map(int, sizes.split("_")[0].split("x"))
            table = positions.positions_2d(height, width, expected.shape[2])
        else:
            continue
        checks.near("tables of positions", table, expected, 2e-6)


def _check_samples(tensors: dict[str, Tensor], checks: Checks) -> None:
    full_ids = tensors["init_full_in/caption/tensor"]
    tokens = {"caption": {"tensor": torch.tensor([[40, 41, 42]])}}
    valid = torch.tensor([[True, True, False, False]])
    vectors = {"tensor": torch.zeros(1, 4, 3), "mask_valid": valid}
    text14 = samples.empty_target(CAPTION, 1, 14)
    made = {
        "custom_text/caption": samples.continued_text([39, 40, 41, 5], [3], 10),
        "empty_seq/caption": samples.empty_condition(CAPTION, text14),
        "empty_emb/emb": samples.empty_condition(VECTORS, {"tensor": torch.zeros(1, 4, 3)}),
        "init_empty/caption": samples.empty_target(CAPTION, 2, 8),
        "init_empty/img": samples.empty_target(IMAGE, 2),
        "init_empty_min2/caption": samples.empty_target(CAPTION, 1, 1),
        "init_full/emb": samples.full_input(VECTORS, vectors),
    }
    for name, entry in made.items():
        for key, value in entry.items():
            if f"{name}/{key}" in tensors:
                checks.equal(f"sample {name}", value, tensors[f"{name}/{key}"])
    # recorded: the end token of the first row counts for all, and a text without one loses its
    # first word
    full = samples.full_input(CAPTION, {"tensor": full_ids})
    hidden = torch.tensor([[False] * 3 + [True] * 2, [False] * 4 + [True]])
    checks.equal("sample init_full (corrected)", full["input_mask"], hidden)
    checks.equal("sample init_full (corrected)", full["tensor"], full_ids)
    ended = samples.full_input(CAPTION, tokens["caption"])
    checks.equal("sample init_full (corrected)", ended["tensor"], torch.tensor([[40, 41, 42, 3]]))
    one = {"tensor": torch.arange(4)[None], "input_mask": torch.zeros(1, 4, dtype=torch.bool)}
    many = samples.expand_to_batch({"img": {**one, "other": torch.zeros(1)}}, 3)["img"]
    for key in ("tensor", "input_mask", "other"):
        checks.equal("expand", many[key], tensors[f"expand/img/{key}"])
    drawn = torch.rand(16, generator=torch.Generator().manual_seed(77))
    checks.equal("stream", drawn, tensors["rand_after_manual_seed"])
