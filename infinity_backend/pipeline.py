"""Prompts to images in one call.

pipeline = InfinityPipeline.from_pretrained("folder")
result = pipeline(["a red circle"], seeds=[0], controller=get_pruning_ratio)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import ConfigError
from infinity_backend.generator import InfinityGenerator
from infinity_backend.load import load_parts
from infinity_backend.parts import InfinityParts
from infinity_backend.request import ImageRequest

GetPruningRatio = Callable[[int, int], float]


@dataclass(frozen=True)
class PipelineOutput:
    """Images and what they cost.

    Attributes:
        images: uint8 RGB [B, height, width, 3].
        cost_flops: [B] everything that was paid: text, stages, decoding.
        full_cost_flops: [B] the same with nothing pruned.
    """

    images: np.ndarray
    cost_flops: np.ndarray
    full_cost_flops: np.ndarray


class InfinityPipeline(InfinityParts):
    """A model in memory that can be called; `InfinityGenerator` goes scale by scale."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> "InfinityPipeline":
        """Load a pipeline folder, or official files; see `infinity_backend.load.load_parts`."""
        return cls(**vars(load_parts(folder, **options)))

    def __call__(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        controller: GetPruningRatio | None = None,
        batch_size: int = 16,
        negative_prompts: Sequence[str | None] | None = None,
    ) -> PipelineOutput:
        """Generate one image per prompt.

        Args:
            prompts: what to draw.
            seeds: one per prompt.
            controller: `get_pruning_ratio(scale, num_scales)` with scale 0, 1, ...; 0 computes
                everything, 1.0 skips. None prunes nothing.
            batch_size: images drawn together.
            negative_prompts: what to lead away from, one per prompt.

        Raises:
            ConfigError: lengths differ, or a ratio is impossible.
        """
        bare = [None] * len(prompts) if negative_prompts is None else negative_prompts
        if not len(prompts) == len(seeds) == len(bare):
            raise ConfigError(
                f"{len(prompts)} prompts, {len(seeds)} seeds and {len(bare)} negative prompts; "
                "give one of each per image"
            )
        everything = [ImageRequest(*parts) for parts in zip(prompts, seeds, bare, strict=True)]
        generator = InfinityGenerator(self)
        images, costs, full_costs = [], [], []
        for start in range(0, len(prompts), batch_size):
            requests = everything[start : start + batch_size]
            state = generator.begin(requests)
            fixed = np.array([generator.fixed_cost(request) for request in requests])
            spent = fixed.copy()
            for stage in range(self.stepper.num_stages):
                ratio = controller(stage, self.stepper.num_stages) if controller else 0.0
                decision = generator.decision_space.complete({"prune_ratio": ratio})
                decisions: list[Any] = [decision] * len(requests)
                spent += generator.cost(state, decisions)
                state = generator.advance(state, decisions)
            full = [sum(stage.cost_flops for stage in generator.stages(r)) for r in requests]
            images.append(generator.finish(state))
            costs.append(spent)
            full_costs.append(fixed + np.array(full))
        return PipelineOutput(*(np.concatenate(parts) for parts in (images, costs, full_costs)))
