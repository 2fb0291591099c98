"""What a training run tells of itself: figures of each rollout and evaluation for TensorBoard."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image, Logger

from agents.evaluation import Evaluation

_SAMPLES = 8  # images shown at each evaluation


class RolloutRecorder(BaseCallback):
    """Collects what the environment tells of the episodes that end during a rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.summaries: list[dict[str, Any]] = []

    def _on_rollout_start(self) -> None:
        self.summaries = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode_summary" in info:
                self.summaries.append(info["episode_summary"])
        return True

    def means(self) -> dict[str, float]:
        """The mean of each figure over the episodes of the last rollout: return, saved, ssim..."""
        return {
            name: float(np.mean([summary[name] for summary in self.summaries]))
            for name, value in (self.summaries[0] if self.summaries else {}).items()
            if isinstance(value, float)
        }

    def ratios(self) -> dict[str, list[float]]:
        """The prune ratios of the last rollout, by number of the stage."""
        found: dict[str, list[float]] = {}
        for summary in self.summaries:
            for stage, decision in enumerate(summary["decisions"]):
                found.setdefault(f"{stage:02d}", []).append(decision.get("prune_ratio", 0.0))
        return found


def log_rollout(logger: Logger, recorder: RolloutRecorder, steps_per_second: float) -> None:
    """Record one rollout."""
    for name, value in recorder.means().items():
        logger.record(f"rollout/{name}", value)
    _log_ratios(logger, "rollout_ratio/stage_", recorder.ratios())
    logger.record("time/steps_per_second", steps_per_second)


def log_evaluation(logger: Logger, evaluation: Evaluation) -> None:
    """Record one evaluation: means, histogram of the ratios of each stage, sample images."""
    for name, value in evaluation.means.items():
        logger.record(f"evaluation/{name}", value)
    _log_ratios(logger, "evaluation_ratio/", evaluation.ratios())
    outputs = [result.output for result in evaluation.results[:_SAMPLES]]
    if outputs[0].ndim == 3:
        references = list(evaluation.references[:_SAMPLES])
        logger.record("evaluation/samples", Image(_sheet(references, outputs), "HWC"))


def _log_ratios(logger: Logger, prefix: str, ratios: dict[str, list[float]]) -> None:
    for name, values in ratios.items():
        # A tensor is written as a histogram.
        logger.record(f"{prefix}{name}", torch.tensor(values))


def _sheet(references: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> np.ndarray:
    """[2 * height, n * width, 3]: references above, outputs below. Sizes may differ."""
    height = max(image.shape[0] for image in references)
    width = max(image.shape[1] for image in references)
    sheet = np.zeros((2 * height, len(outputs) * width, 3), np.uint8)
    for top, images in ((0, references), (height, outputs)):
        for column, image in enumerate(images):
            left = column * width
            sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet
