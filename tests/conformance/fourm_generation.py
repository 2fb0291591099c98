"""Seeded generation against recorded numbers, pass by pass and step by step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fourm_backend.dense import generate_sam_dense
from fourm_backend.generate import generate, generate_iter
from fourm_backend.modalities import TEXT_LIKE
from fourm_backend.model import FourM
from fourm_backend.multi_guided import generate_multi_guided
from fourm_backend.sampling import SequentialNoise
from fourm_backend.schedule import Step, build_chained_generation_schedules
from fourm_backend.text import load_text_tokenizer
from tests.conformance.checks import Checks
from tests.conformance.fourm_model import NEAR, build_model, rebuild

Tensors = dict[str, Tensor]


def ego_case(case: dict[str, Any]) -> dict[str, Any]:
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


def generation_case(
    folder: Path, model_entry: dict[str, Any], file: str, name: str, case: dict[str, Any]
) -> Callable[[Checks], None]:
    """The check of one recorded run."""

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
