"""Which pruning settings leave a policy the most to gain on the small model.

    python -m benchmarks.pruning_choice

For each setting, on validation prompts: the best mix of fixed schedules and the oracle per prompt
at several budgets (PSNR in dB against the unpruned picture), over all 32 leaves of decisions on
the last three scales. The setting of `config.json` was chosen by the gain at 45 %.
"""

import logging
from dataclasses import asdict, replace

import torch
from rich.console import Console

from benchmarks.record import record
from infinity_backend.config import PruningConfig
from infinity_backend.generator import InfinityGenerator
from infinity_backend.pipeline import InfinityPipeline
from scenes.headroom import SMALL_TREE, draw_leaves, oracle_gain
from scenes.world import prompts

PROMPTS = 48
BUDGETS = (0.35, 0.45, 0.55, 0.65)
SETTINGS = (
    PruningConfig(first_block=0, last_block=5, cache_tokens=25, restore="no_code"),
    PruningConfig(first_block=1, last_block=5, cache_tokens=25, restore="no_code"),
    PruningConfig(first_block=1, last_block=5, cache_tokens=25, restore="cached"),
    PruningConfig(first_block=1, last_block=4, cache_tokens=25, restore="cached"),
)


def main() -> None:
    """Measure all settings and write `pruning_choice.json`."""
    logging.basicConfig(level=logging.INFO)
    torch.set_num_threads(1)
    pipeline = InfinityPipeline.from_pretrained("scenes")
    scenes = prompts("validation", PROMPTS)
    results = []
    for pruning in SETTINGS:
        config = replace(pipeline.config, pruning=pruning)
        stepper = replace(pipeline.stepper, config=config)
        generator = InfinityGenerator(replace(pipeline, stepper=stepper))
        leaves = draw_leaves(generator, scenes, tree=SMALL_TREE)
        budgets = [{"compute": b, **oracle_gain(leaves, b)} for b in BUDGETS]
        results.append({"pruning": asdict(pruning), "budgets": budgets})
        Console().print(results[-1])
    figures = {"prompts": PROMPTS, "weights_hash": pipeline.weights_hash, "settings": results}
    Console().print(f"written: {record('pruning_choice', figures)}")


if __name__ == "__main__":
    main()
