"""Infinity against recorded numbers: one-shot, stepwise, teacher-forced, tokenizer, training data.

A folder holds `manifest.json` (configs, cases), the cases' safetensors, and weights (paths
relative to the manifest). Tolerances on CPU float32: logits 5 x the case's own float64 noise,
traces 1e-5, codes 1e-6, features and decoded images 2e-5, bits and kept tokens exact.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from infinity_backend.bsq import quantize
from infinity_backend.generate import Stepper
from infinity_backend.intermediates import scale_codes
from infinity_backend.request import ImageRequest
from infinity_backend.rope import rope_table
from infinity_backend.self_correction import training_pair
from infinity_backend.spectrum import latent_spectrum, pixel_spectrum
from infinity_backend.text import TextCondition
from tests.conformance.checks import Checks
from tests.conformance.infinity_model import build_stepper, ratios_of, unpack_bits
from tests.conformance.result import CaseResult

FILES = "manifest.json, <config>__<case>.safetensors, weights_<config>_{infinity,vae}.safetensors"
Case = dict[str, Any]
Tensors = dict[str, Tensor]


def run(folder: Path, only: re.Pattern[str] | None = None) -> list[CaseResult]:
    """Run every case of the folder whose name matches `only`."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    results: list[CaseResult] = []
    for name, case in manifest["cases"].items():
        if only is not None and not only.search(name):
            continue
        call = case["call"]
        checks = Checks(name)
        runner = RUNNERS.get(call["method"])
        if runner is None:
            checks.not_run("case", f"no runner for method {call['method']!r} yet")
        else:
            stepper = build_stepper(folder, manifest["configs"][call["config"]], call)
            with torch.no_grad():
                runner(stepper, case, load_file(folder / case["file"]), checks)
        results += checks.results.values()
    return results


def _text(tensors: Tensors, prefix: str, lengths: list[int]) -> TextCondition:
    return TextCondition.from_compact(tensors[f"{prefix}/kv_compact"], lengths)


def run_generation(stepper: Stepper, case: Case, tensors: Tensors, checks: Checks) -> None:
    """Methods `ar` and `step`: the same stages, whatever they were called from."""
    call, meta = case["call"], case["meta"]
    count = call.get("B") or 1
    negative = _text(tensors, "text_neg", call["neg_lens"]) if call.get("neg_lens") else None
    state = stepper.begin(
        [ImageRequest(f"case {index}", index) for index in range(count)],
        _text(tensors, "text", call["lens"]),
        negative,
        stream_seed=call.get("g_seed"),
    )
    _check_text_trace(stepper, state.rows[0].text.chunk, tensors, checks)
    logit_tolerance = 5 * (case["numeric_noise_float64_rerun"]["max_abs_logit_diff"] or 2e-6)
    kept_names = sorted(name for name in tensors if name.startswith("keep/"))
    recorder = Recorder(stepper)
    for stage, ratio in enumerate(ratios_of(call, stepper.config.schedule)):
        forced = None
        if stage < (call.get("gt_leak") or 0):
            forced = tensors[f"gt_ls_Bl/{stage}"].squeeze(1)
        recorder.clear()
        decisions = [{"prune_ratio": ratio, "guidance": True}] * count
        state = stepper.advance(state, decisions, forced, recorder)
        if f"logits/{stage}" in tensors:
            logits = recorder.named["logits"]
            thin = logits[:, ::8] if logits.shape[1] > 256 else logits
            checks.near("logits", thin, tensors[f"logits/{stage}"], logit_tolerance)
        if f"bits/{stage}" in tensors:
            bits = torch.stack([row.signs[stage] for row in state.rows]) > 0  # type: ignore[misc]
            expected = unpack_bits(tensors[f"bits/{stage}"], meta["bits_shape"][str(stage)])
            checks.equal("bits", bits, expected)
        for name in (f"summed_codes/{stage}", f"step/{stage}/summed_codes"):
            if name in tensors:
                checks.near("summed_codes", state.codes, tensors[name], 1e-6)
        if f"step/{stage}/img_crop" in tensors:
            image = torch.from_numpy(stepper.images(state.codes)).flip(-1)[:, 40:72, 24:56]
            checks.image("img_crop", image, tensors[f"step/{stage}/img_crop"])
        _check_kept(stepper, stage, recorder.kept, kept_names, tensors, checks)
        recorder.check_trace(stage, tensors, checks)
    recorder.close()
    _check_final(stepper, state.codes, case, tensors, checks)


def _check_kept(
    stepper: Stepper,
    stage: int,
    kept: list[Tensor],
    names: list[str],
    tensors: Tensors,
    checks: Checks,
) -> None:
    """Kept tokens as sets, in call order; stages that ran densely record none."""
    height, width = stepper.config.schedule[stage]
    same_grid = [name for name in names if name.endswith(f"_h{height}w{width}")]
    expected = [tensors[n] for n in same_grid if tensors[n].shape[1] < height * width]
    if not expected:
        return
    for got, want in zip(kept, expected, strict=False):  # stored lists may be cut short
        if got.shape != want.shape:
            checks.equal("kept tokens", got, want)
        else:
            checks.equal("kept tokens", got.sort(dim=1).values, want.long().sort(dim=1).values)
    checks.near(
        "kept lists missing", torch.tensor(max(0, len(expected) - len(kept))), torch.tensor(0), 0.0
    )


def _check_final(
    stepper: Stepper, codes: Tensor, case: Case, tensors: Tensors, checks: Checks
) -> None:
    if "final/summed_codes" in tensors:
        checks.near("final summed_codes", codes, tensors["final/summed_codes"], 1e-6)
    image = torch.from_numpy(stepper.images(codes)).flip(-1)  # RGB to BGR
    if "final/img_u8_bgr" in tensors:
        checks.image("final image", image, tensors["final/img_u8_bgr"])
    if "final/img_crop_u8_bgr" in tensors:
        checks.image("final image", image[:, 100:132, 60:92], tensors["final/img_crop_u8_bgr"])
    if "final/decode_avgpool16" in tensors and not case["meta"].get("final_decode_input_matches"):
        pooled = F.avg_pool2d(stepper.vae.decode(codes), 16)
        checks.near("final decode", pooled, tensors["final/decode_avgpool16"], 2e-5)


def _check_text_trace(stepper: Stepper, chunk: Any, tensors: Tensors, checks: Checks) -> None:
    if "trace/sos" in tensors:
        checks.near("trace sos", chunk.pooled.flatten(0, 1), tensors["trace/sos"], 1e-5)
    if "trace/shared_ada_lin_out" in tensors:
        shared = chunk.shared.flatten(0, 1)
        checks.near("trace shared_ada_lin", shared, tensors["trace/shared_ada_lin_out"], 1e-5)
    if "trace/rope_cos_sin_first64" in tensors:
        config = stepper.config
        mode, width = config.infinity.rope2d_normalized_by_hw, config.infinity.head_dim
        tables = [rope_table(grid, config.rope_grid, width, mode) for grid in config.schedule]
        table = torch.cat(tables)[:64]
        both = torch.stack([table.real, table.imag])
        checks.near("trace rope", both, tensors["trace/rope_cos_sin_first64"], 1e-5)


class Recorder:
    """Keeps what a stage computes: named values, kept tokens, and outputs of sub-layers."""

    def __init__(self, stepper: Stepper):
        self.named: Tensors = {}
        self.kept: list[Tensor] = []
        self.handles = []
        modules: dict[str, Any] = {"head_nm_out": stepper.model.head_nm}
        for index, block in enumerate(stepper.model.block_list()):
            for part in ("sa", "ca", "ffn"):
                modules[f"block{index}_{part}_out"] = getattr(block, part)
        for name, module in modules.items():
            if module is not None:
                self.handles.append(module.register_forward_hook(self._hook(name)))

    def _hook(self, name: str) -> Any:
        def keep(module: Any, args: Any, output: Tensor) -> None:
            self.named[name] = output

        return keep

    def __call__(self, name: str, value: Tensor) -> None:
        if name == "keep":
            self.kept.append(value)
        else:
            self.named[name] = value

    def clear(self) -> None:
        """Forget the last stage."""
        self.named, self.kept = {}, []

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()

    def check_trace(self, stage: int, tensors: Tensors, checks: Checks) -> None:
        """Compare with the case's `trace/scale<stage>/...` where there is one of that name."""
        prefix = f"trace/scale{stage}/"
        for name, expected in tensors.items():
            if name.startswith(prefix) and name.removeprefix(prefix) in self.named:
                got = self.named[name.removeprefix(prefix)]
                checks.near("trace blocks", got, expected, 1e-5)


def run_teacher_forced(stepper: Stepper, case: Case, tensors: Tensors, checks: Checks) -> None:
    """Method `tf`: all scales at once under the block-causal mask."""
    config = stepper.config
    text = _text(tensors, "text", case["call"]["lens"])
    inputs = tensors["x_BLC_wo_prefix"].float()
    logits = stepper.model(text, inputs, config.schedule, config.rope_grid)
    tolerance = 5 * case["numeric_noise_float64_rerun"]["max_abs_logit_diff"]
    checks.near("logits", logits, tensors["logits"], tolerance)


def run_vae(stepper: Stepper, case: Case, tensors: Tensors, checks: Checks) -> None:
    """Method `vae`: image to features, bits of every scale, and back."""
    count = sum(name.startswith("bit_indices/") for name in tensors)
    grids = [tuple(tensors[f"bit_indices/{index}"].shape[2:4]) for index in range(count)]
    image = tensors["image_u8"].float() / 127.5 - 1.0
    features = stepper.vae.features(image)
    checks.near("h", features, tensors["h"], 2e-5)
    quantized = quantize(tensors["h"].float(), grids)  # type: ignore[arg-type]
    for index, bits in enumerate(quantized.bits):
        checks.equal("bit_indices", bits, tensors[f"bit_indices/{index}"].bool())
    for index, value in enumerate(quantized.inputs):
        if f"var_inputs/{index}" in tensors:
            checks.near("var_inputs", value, tensors[f"var_inputs/{index}"], 1e-6)
    checks.near("z", quantized.codes, tensors["z"], 1e-6)
    if "residual_norm_per_scale" in tensors:
        shares = torch.tensor(quantized.residual_share)
        checks.near("residual_norm", shares, tensors["residual_norm_per_scale"], 1e-6)
    checks.near("decode", stepper.vae.decode(tensors["z"].float()), tensors["decode"], 2e-5)
    codes, decoded = stepper.vae.decode_bits(list(quantized.bits), grids[-1])  # type: ignore[arg-type]
    checks.near("summed_codes", codes, tensors["decode_from_indices/summed_codes"], 1e-6)
    checks.near("decode_from_indices", decoded, tensors["decode"], 2e-5)


def run_self_correction(stepper: Stepper, case: Case, tensors: Tensors, checks: Checks) -> None:
    """Method `bsc`: training inputs and targets with bits flipped by seeded draws."""
    config = stepper.config
    grids = [stepper.tokenizer_grid(stage) for stage in range(stepper.num_stages)]
    features = tensors["raw_features"].float()
    for tag in ("clean", "noisy", "noisy_norequant"):
        if tag not in case["meta"]:
            continue
        noise = case["meta"][tag]
        numpy_draws = np.random.RandomState(noise["numpy_seed"])
        torch_draws = torch.Generator().manual_seed(noise["torch_seed"])

        def flip(
            index: int,
            bits: Tensor,
            noise: Any = noise,
            numpy_draws: Any = numpy_draws,
            torch_draws: Any = torch_draws,
        ) -> Tensor:
            if index >= noise["noise_apply_layers"]:
                return torch.zeros_like(bits)
            limit = int(100 * noise["noise_apply_strength"]) + 1
            strength = 0.01 * numpy_draws.randint(0, limit)
            return torch.rand(bits.shape, generator=torch_draws) < strength

        pair = training_pair(features, grids, flip, bool(noise["noise_apply_requant"]))
        inputs, targets = pair.inputs, [bits.permute(0, 3, 1, 2).float() for bits in pair.targets]
        if config.infinity.apply_spatial_patchify:
            inputs = [F.pixel_unshuffle(part, 2) for part in inputs]
            targets = [F.pixel_unshuffle(part, 2) for part in targets]
        flat = [
            torch.cat([part.flatten(2) for part in parts], 2).transpose(1, 2)
            for parts in (inputs, targets)
        ]
        checks.near(f"{tag} inputs", flat[0], tensors[f"{tag}/x_BLC_wo_prefix"], 1e-6)
        checks.equal(f"{tag} targets", flat[1], tensors[f"{tag}/gt_bits"].float())


def run_spectra(stepper: Stepper, case: Case, tensors: Tensors, checks: Checks) -> None:
    """Method `dft`: the stages of a stepwise run, and their five spectra."""
    call = case["call"]
    state = stepper.begin([ImageRequest("case", 0)], _text(tensors, "text", call["lens"]))
    grid = stepper.tokenizer_grid(stepper.num_stages - 1)
    for stage, ratio in enumerate(ratios_of(call, stepper.config.schedule)):
        state = stepper.advance(state, [{"prune_ratio": ratio, "guidance": True}])
        parts = {"summed": state.codes}
        checks.near("summed_codes", state.codes, tensors[f"dft/{stage}/summed_codes"], 1e-6)
        ran = {number: codes for number, codes, _, _ in scale_codes(state.rows[0], grid)}
        if stage in ran:
            parts["codes"] = ran[stage]
            checks.near("codes", ran[stage], tensors[f"dft/{stage}/codes"], 1e-6)
        for part, codes in parts.items():
            pixel, latent = pixel_spectrum(stepper.vae, codes, grid), latent_spectrum(codes)
            checks.near(f"{part} pixel", pixel, tensors[f"dft/{stage}/{part}_pixel"], 3e-4)
            checks.near(f"{part} latent", latent, tensors[f"dft/{stage}/{part}_latent"], 3e-4)
    checks.near("final summed_codes", state.codes, tensors["final/summed_codes"], 1e-6)
    # The last thing that the recorded run decoded were the codes of its last spectrum.
    pooled = F.avg_pool2d(stepper.vae.decode(parts["codes"]), 16)
    checks.near("final decode", pooled, tensors["final/decode_avgpool16"], 2e-5)


RUNNERS = {
    "ar": run_generation,
    "dft": run_spectra,
    "step": run_generation,
    "tf": run_teacher_forced,
    "vae": run_vae,
    "bsc": run_self_correction,
}
