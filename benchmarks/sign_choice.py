"""Which of several trainings comes with the package, on clips that no test looks at.

    python -m benchmarks.sign_choice '[benchmarks/sign_policies/seed0, ...]'

The cosine of each policy minus that of every fixed stride at its cost, on validation clips with the
replayed tracker; the policy with the highest mean is `policy:signers`.
"""

from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli

from benchmarks.record import record
from benchmarks.sign_fronts import WEIGHTS, controllers_of, measure
from commands.wiring import load_generator, load_prompts, make_requests
from envs.references import ReferenceCache
from eval.front import at_budgets


def run(policies: list[str], prompts: str = "signer:validation:60") -> None:
    """Measure and record.

    Args:
        policies: run folders, one a training seed.
        prompts: the clips.
    """
    torch.set_num_threads(1)
    generator: Any = load_generator("sign:recorded")
    requests = make_requests(generator, load_prompts(prompts))
    groups = controllers_of(policies, WEIGHTS, generator, requests[0])
    references = ReferenceCache(batch_size=16)
    strides, *fronts = (
        measure(name, group, generator, requests, references) for name, group in groups.items()
    )
    costs, cosines = strides.compute.mean(0), strides.figures["cosine"].mean(0)
    found = {}
    for front in fronts:
        above = at_budgets(front, "cosine", costs.tolist()) - cosines
        by_stride = dict(zip(strides.labels, above.tolist(), strict=True))
        del by_stride["every frame"]
        found[front.name] = {
            "minus_stride": by_stride,
            "mean": float(np.mean([*by_stride.values()])),
        }
    record("sign_choice", {"prompts": prompts, "policies": found})


if __name__ == "__main__":
    auto_cli(run)
