"""The 2B configuration end to end on this machine: text encoder, every controller, decoder.

    OMP_NUM_THREADS=1 python -m benchmarks.infinity_2b

Random weights, blocks and a text encoder of flan-t5-xl's size in bfloat16, 0.06 megapixels. Memory
is estimated and printed before anything is made. The prompt's features are kept, and the text
encoder is dropped before the first image, as on a small card.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.parse_controller import parse_controller
from agents.policy_file import PolicyDefinition, save_policy
from agents.rollout import run_controller
from agents.standardised_input import StandardisedInput
from base.torchvision_stub import import_torchvision
from benchmarks.large_models import full_config, random_model, with_pruning
from benchmarks.record import record
from envs.actions import action_encoding
from envs.observation import VectorObservation
from infinity_backend.generator import InfinityGenerator
from infinity_backend.load import PRETRAINED
from infinity_backend.memory import estimate_memory, free_bytes
from infinity_backend.parts import InfinityParts
from infinity_backend.request import ImageRequest
from infinity_backend.text_encoder import TextEncoder

PROMPT = "a large plain red circle at the top left on a striped blue background"
FLAN_T5_XL = {
    "vocab_size": 32128,
    "d_model": 2048,
    "d_kv": 64,
    "d_ff": 5120,
    "num_layers": 24,
    "num_heads": 32,
    "feed_forward_proj": "gated-gelu",
}
CONTROLLERS = [
    "random:0",  # first: what libraries set up at their first use is in its time
    "none",
    "schedule:fastvar_default",
    "schedule:v3_tokens",
    "schedule:16:0.5",
    "skipvar",
    "stagevar:0.5",
    "none+no_guidance:2",
    "none+calm:0.5",
    f"python:{__name__ if __name__ != '__main__' else 'benchmarks.infinity_2b'}:get_pruning_ratio",
]
METHODS: dict[str, dict[str, Any]] = {  # under one schedule, what else a pruned token can mean
    "entropy": {"selection": "entropy", "self_attention_share": 0.0},
    "hybrid": {"selection": "hybrid", "self_attention_share": 0.75},
    "change": {"selection": "change"},
    "no code": {"restore": "no_code"},
    "no cache": {"restore": "zero"},
}


def get_pruning_ratio(scale: int, num_scales: int) -> float:
    """The placeholder of the seeds: zeros with a tail."""
    tail = [0.3, 0.4, 1.0, 1.0, 0.8, 1.0][: num_scales - 1]
    return ([0.0] * (num_scales - len(tail)) + tail)[scale]


def text_encoder() -> TextEncoder:
    """Of flan-t5-xl's size, with random weights and the tokenizer of the small model."""
    import_torchvision()
    from transformers import AutoTokenizer, T5Config, T5EncoderModel

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    model = T5EncoderModel(T5Config(**FLAN_T5_XL))
    torch.set_default_dtype(default)
    tokenizer = AutoTokenizer.from_pretrained(PRETRAINED / "scenes" / "text_encoder")
    return TextEncoder(model.eval().requires_grad_(False), tokenizer)


def drop_weights(encoder: TextEncoder) -> None:
    """Give its memory back: the prompt's features are kept, and nothing asks for it again."""
    for parameter in encoder.model.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)


def untrained_policy(generator: InfinityGenerator, folder: Path) -> str:
    """A policy of the usual size that nothing has trained, as a file; the controller's name."""
    menu = generator.decision_space.menu
    encoding = action_encoding(generator.decision_space, "discrete", menu)
    observation = VectorObservation(generator)
    policy = ActorCriticPolicy(
        observation.space,
        encoding.space,
        lr_schedule=lambda _: 0.0,
        net_arch=[64, 64],
        features_extractor_class=StandardisedInput,
    )
    definition = PolicyDefinition(
        fingerprint=generator.fingerprint,
        num_stages=generator.max_stages,
        observation=tuple(observation.names),
        action_mode="discrete",
        menu=menu,
        first_controlled_stage=1,
        preference=0.5,
        net_arch=(64, 64),
    )
    save_policy(folder, policy, definition)
    return f"policy:{folder}"


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of this process, and what came out."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def measure(generator: InfinityGenerator, name: str) -> dict[str, Any]:
    """One image under a controller."""
    request = ImageRequest(PROMPT, 0)
    controller = parse_controller(name, generator, request)
    seconds, (result,) = timed(lambda: list(run_controller(generator, controller, [request])))
    return {
        "seconds": seconds,
        "flops": result.cost_flops,
        "saved": result.saved,
        "decisions": [
            [decision["prune_ratio"], decision["guidance"]] for decision in result.decisions
        ],
        "image_mean": float(np.mean(result.output)),
    }


def main() -> None:
    """Make one image under every controller; write `infinity_2b.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="2b", help="125m to try it out")
    parser.add_argument("--resolution", default="0.06M")
    options = parser.parse_args()
    console = Console()
    config = full_config(options.size, options.resolution)
    memory = estimate_memory(config, torch.bfloat16)
    console.print(
        f"needs {memory}, and 2.4 GB for the text encoder; {free_bytes('cpu')} bytes free"
    )
    encoder = text_encoder()
    text_seconds, _ = timed(lambda: encoder([PROMPT]))
    stepper = random_model(config, torch.bfloat16)
    generator = InfinityGenerator(InfinityParts(stepper, encoder, "random"))
    drop_weights(encoder)
    figures: dict[str, Any] = {
        "size": options.size,
        "resolution": options.resolution,
        "memory": {
            "weights": memory.weights,
            "each_image": memory.each_image,  # at its widest
        },
        "text_encoder_seconds": text_seconds,
        "controllers": {},
        "methods": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in [*CONTROLLERS, untrained_policy(generator, Path(folder))]:
            shown = name if not name.startswith("policy:") else "policy (untrained)"
            figures["controllers"][shown] = measure(generator, name)
            console.print(shown, f"{figures['controllers'][shown]['seconds']:.1f} s")
            record(f"infinity_{options.size}", figures)  # a run that is stopped leaves what it has
    for name, changes in METHODS.items():
        other = replace(generator.pipeline, stepper=with_pruning(stepper, **changes))
        figures["methods"][name] = measure(InfinityGenerator(other), "schedule:v3_tokens")
        console.print(name, f"{figures['methods'][name]['seconds']:.1f} s")
    figures["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    table = Table("controller or method", "s", "TFLOP", "FLOPs saved")
    for name, row in (figures["controllers"] | figures["methods"]).items():
        table.add_row(
            name, f"{row['seconds']:.1f}", f"{row['flops'] / 1e12:.2f}", f"{row['saved']:.0%}"
        )
    console.print(table)
    console.print(str(record(f"infinity_{options.size}", figures)))


if __name__ == "__main__":
    main()
