"""How fast 4M generates, against the documented algorithm, and what encoder refresh saves.

    python -m benchmarks.fourm_speed               # the tiny build (D = 384), random weights
    python -m benchmarks.fourm_speed --size base

In one run: (1) a caption of 255 tokens, with keys and values kept, and with the whole prefix
decoded again for each token, as documented, alone and four side by side; (2) the recipe
T2CR_roar49-25 (a caption to CLIP tokens to RGB tokens, guided), exact, and plainly: every modality
embedded, sorted and packed at each step and pass; both draw the same tokens; (3) the same recipe
with the encoder refreshed in full, only for new tokens, and not at all. FLOPs are those of
`fourm_backend.cost`. Weights are random, so the agreement of tokens says nothing about trained
models. Seconds are CPU time of one thread, which other work on the machine disturbs least.
"""

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.record import record
from fourm_backend.config import ModelConfig, build
from fourm_backend.cost import query_flops
from fourm_backend.decoding import draw_tokens, mix, write_tokens
from fourm_backend.generate import empty_targets, generate
from fourm_backend.generator import FourMGenerator
from fourm_backend.modalities import FOURM
from fourm_backend.model import FourM
from fourm_backend.packing import embed
from fourm_backend.request import TokenRequest
from fourm_backend.samples import FIRST_SENTINEL, emptied, full_input
from fourm_backend.sampling import SequentialNoise, draw, probabilities
from fourm_backend.schedule import Step
from fourm_backend.task import Task
from fourm_backend.text import merge_spans

CAPTION, CLIP, RGB = "caption", "tok_clip@224", "tok_rgb@224"
RECIPE = Task.from_values(
    {
        "cond_domains": CAPTION,
        "target_domains": f"{CLIP}-{RGB}",
        "autoregression_schemes": "roar",
        "decoding_steps": "49-25",
        "temps": "6.0-0.5",
        "temp_schedules": "onex:0.5:0.5-constant",
        "cfg_scales": 3.0,
        "top_p": 0.9,
    }
)
TEXT_TOKENS = 16
SEED = 3


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="tiny", choices=["tiny", "small", "base", "large"])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    size = options.size
    torch.set_num_threads(1)
    torch.manual_seed(0)
    modalities = {name: FOURM[name] for name in (CAPTION, CLIP, RGB)}
    model = FourM(ModelConfig(build(size), modalities, modalities)).eval().requires_grad_(False)
    words = torch.randint(300, 30_000, (1, TEXT_TOKENS - 1))
    ids = torch.cat([words, torch.full((1, 1), 3)], dim=1)
    given = {CAPTION: full_input(FOURM[CAPTION], {"tensor": ids})}
    figures: dict[str, Any] = {"size": size}
    with torch.no_grad():
        for part in options.parts:
            figures[part] = PARTS[part](model, given)
    show(figures)
    record(f"fourm_speed_{size}", figures)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the seconds."""
    start = time.process_time()
    result = run()
    return result, time.process_time() - start


def measure_text(model: FourM, given: Any, rows: int = 1) -> dict[str, Any]:
    """Captions from CLIP tokens; what is given to the recipe is not used."""
    clip = full_input(FOURM[CLIP], {"tensor": torch.randint(8192, (rows, 196))})
    step = Step(CAPTION, "autoregressive", None, 1.0, 1.0, ())
    sample = empty_targets(model, {CLIP: clip}, [step])
    fast, seconds = timed(lambda: generate(model, sample, [step], seed=SEED)[CAPTION])
    plain, plain_seconds = timed(lambda: plain_text(model, sample, step))
    merged = [torch.tensor(merge_spans([FIRST_SENTINEL], row)) for row in plain]
    same = torch.equal(fast["tensor"], torch.nn.utils.rnn.pad_sequence(merged, batch_first=True))
    config, count, context = model.config.architecture, len(plain[0]) - 1, 196 + 1
    keys = config.decoder_depth * 4 * context * config.dim**2
    whole = sum(query_flops(config, t, context, 30_000) + keys for t in range(1, count + 1))
    # a cached token looks at those before it: 4 t D in each block instead of 4 D
    looks = config.decoder_depth * 4 * config.dim * sum(range(count))
    once = count * query_flops(config, 1, context, 30_000) + looks + keys
    return {
        "rows": rows,
        "tokens": count,
        "fewer_flops": whole / once,
        "cached_s": seconds,
        "plain_s": plain_seconds,
        "faster": plain_seconds / seconds,
        "same_tokens": same,
    }


def plain_text(model: FourM, sample: Any, step: Step) -> list[list[int]]:
    """Each token of each row anew: keys of the context, the whole prefix, and its logits."""
    noise = SequentialNoise(SEED)
    noise.begin_step(0)
    context, _, ignored = plain_context(model, sample)
    decoder, entry = model.target(CAPTION), sample[CAPTION]
    used = ~entry["target_mask"][0]  # the same places in all rows
    table = decoder.places(entry["target_mask"])[:, used]
    ids = entry["tensor"][:, used].long()
    written = ids[:, :1]  # [B, t]
    for length in range(1, table.shape[1] + 1):
        y = decoder.token_emb(written) + table[:, :length]
        hidden = torch.ones(1, length, length, dtype=torch.bool).triu(1)
        output, _ = model.decode(y, model.context_keys(context), ignored, hidden)
        logits = decoder.to_logits(output)[:, -1]
        chances = probabilities(logits, step.temperature)
        places = torch.zeros(len(ids), 1)
        exponential = noise.exponential(CAPTION, places, logits.shape[1])[:, 0]
        token, _ = draw(logits, chances, exponential)
        written = torch.cat([written, token[:, None]], dim=1)
        if (written == ids[:, -1:]).any(1).all():
            break
    return written.tolist()  # type: ignore[no-any-return]


def plain_context(model: FourM, sample: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Every modality is embedded, visible or not; then sorted, packed and encoded."""
    parts = [(*embed(model, name, entry), entry["input_mask"]) for name, entry in sample.items()]
    content, places, mask = (torch.cat(column, dim=1) for column in zip(*parts, strict=True))
    order = (mask + 1e-6 * torch.arange(mask.shape[1])).argsort(dim=1)
    kept = order[:, : int((~mask).sum(1).max())]
    index = kept[..., None].expand(-1, -1, content.shape[2])
    content, places, ignored = (
        content.gather(1, index),
        places.gather(1, index),
        mask.gather(1, kept),
    )
    encoded, _ = model.encode(content + places, ignored[:, None])
    return model.context(encoded, places), places, ignored[:, None]


def measure_recipe(model: FourM, given: Any) -> dict[str, Any]:
    """The documented recipe, seeded as published."""
    schedule = RECIPE.schedule(model.config.outputs)
    sample = empty_targets(model, given, schedule)
    fast, seconds = timed(lambda: generate(model, sample, schedule, top_p=0.9, seed=SEED))
    plain, plain_seconds = timed(lambda: plain_recipe(model, sample, schedule))
    same = np.mean(
        [float((fast[n]["tensor"] == plain[n]["tensor"]).float().mean()) for n in (CLIP, RGB)]
    )
    return {
        "exact_s": seconds,
        "plain_s": plain_seconds,
        "faster": plain_seconds / seconds,
        "equal_tokens": float(same),
    }


def plain_recipe(model: FourM, sample: Any, schedule: list[Step]) -> Any:
    """Step by step and pass by pass, on a copy of the whole sample each time."""
    noise, sample = SequentialNoise(SEED), copy.deepcopy(sample)
    for number, step in enumerate(schedule):
        target, entry = step.target_domain, sample[step.target_domain]
        noise.begin_step(number)
        count = min(step.num_tokens or 0, int((~entry["target_mask"]).sum()))
        order = noise.order(target, 1, entry["target_mask"].shape[1])
        positions = (entry["target_mask"] + 1e-6 * order).argsort(dim=1)[:, :count]
        left = emptied(
            copy.deepcopy(sample), step.cfg_cond_domains, model.config.modalities, target
        )
        logits = []
        for each in (sample, left):
            context, _, ignored = plain_context(model, each)
            decoder = model.target(target)
            table = decoder.places(each[target]["target_mask"])
            index = positions[..., None].expand(-1, -1, table.shape[2])
            y = model.mask_token + table.gather(1, index)
            output, _ = model.decode(y, model.context_keys(context), ignored)
            logits.append(decoder.to_logits(output))
        drawn = draw_tokens(mix(logits, step.cfg_scale), positions, step, noise, 0.0, 0.9)
        sample[target] = write_tokens(entry, drawn)
    return sample


def measure_refresh(model: FourM, given: Any) -> dict[str, Any]:
    """The recipe under three ways of refreshing the encoder, where they are allowed."""
    generator = FourMGenerator(model, RECIPE)
    request = TokenRequest("benchmark", given, SEED)
    results: dict[str, Any] = {}
    outputs: dict[str, np.ndarray] = {}
    for mode in ("full", "incremental", "reuse"):
        state, flops, start = generator.begin([request]), 0.0, time.process_time()
        while not state.done[0]:
            wanted = {"encoder": mode}
            decision = wanted if generator.allowed(state, [wanted])[0, 0] else {}
            flops += float(generator.cost(state, [decision])[0])
            state = generator.advance(state, [decision])
        seconds = time.process_time() - start
        outputs[mode] = generator.finish(state)[0]
        results[mode] = {
            "seconds": seconds,
            "tflops": flops / 1e12,
            "token_agreement": float((outputs[mode] == outputs["full"]).mean()),
        }
    for each in results.values():
        each["faster"] = results["full"]["seconds"] / each["seconds"]
        each["fewer_flops"] = results["full"]["tflops"] / each["tflops"]
    return results


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    table = Table("what", "seconds", "TFLOP", "faster", "tokens equal")
    for text in (figures[part] for part in ("text", "texts") if part in figures):
        name = f"captions of {text['tokens']} tokens, {text['rows']} side by side"
        faster = f"{text['faster']:.1f}"
        table.add_row(f"{name}, plain", f"{text['plain_s']:.2f}", "", "1", "")
        same = str(text["same_tokens"])
        table.add_row(f"{name}, cached", f"{text['cached_s']:.2f}", "", faster, same)
    if "recipe" in figures:
        recipe = figures["recipe"]
        equal, faster = f"{recipe['equal_tokens']:.3f}", f"{recipe['faster']:.2f}"
        table.add_row("T2CR_roar49-25, plain", f"{recipe['plain_s']:.2f}", "", "1", "")
        table.add_row("T2CR_roar49-25, exact", f"{recipe['exact_s']:.2f}", "", faster, equal)
    for mode, each in figures.get("refresh", {}).items():
        table.add_row(
            f"step by step, encoder {mode}",
            f"{each['seconds']:.2f}",
            f"{each['tflops']:.3f}",
            f"{each['faster']:.2f}",
            f"{each['token_agreement']:.3f}",
        )
    Console().print(table)


PARTS: dict[str, Callable[[FourM, Any], dict[str, Any]]] = {
    "text": measure_text,
    "texts": partial(measure_text, rows=4),
    "recipe": measure_recipe,
    "refresh": measure_refresh,
}


if __name__ == "__main__":
    main()
