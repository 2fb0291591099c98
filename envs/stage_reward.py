"""Rewards `v1`, `v2` and `v3` in the environment: pictures after each of the last four stages.

Each is compared with the unpruned picture after the same stage, so references are whole
trajectories, and every stage is decoded: this is slow, as it was in the predecessor.

Glossary: B rows, (H, W) of an image.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from base.decisions import Decision
from base.errors import ConfigError
from envs.episode import Episode
from envs.final_fidelity import Scorer
from envs.generator import Generator
from envs.predecessor import (
    ALPHA,
    FORMULAS,
    PLACES,
    agreement,
    psnr_of_unit_images,
    similarity_v2,
    similarity_v3,
)
from envs.references import ReferenceCache
from envs.replay import full_decisions
from eval.metrics.pixels import mean_squared_error
from eval.metrics.ssim import ssim

logger = logging.getLogger(__name__)
DISTANCES = {
    "v1": ("lpips", "lpips_standin"),
    "v2": ("lpips", "lpips_standin"),
    "v3": ("dreamsim",),
}


class StageReward:
    """One of the predecessor's rewards.

    Args:
        version: `v1`, `v2` or `v3`.
        generator: makes images and can show them after every stage.
        references: keeps the unpruned pictures.
        scorers: `v1` and `v2` need `lpips` (or `lpips_standin`) and, for images above 160 pixels,
            `ms_ssim`; smaller ones are compared by `ssim` instead. `v3` needs `dreamsim`.

    Raises:
        ConfigError: a generator without images or ratios, or a figure that is missing.
    """

    def __init__(
        self,
        version: str,
        generator: Generator,
        references: ReferenceCache,
        scorers: Sequence[Scorer],
    ):
        if generator.output_kind != "image" or "prune_ratio" not in generator.decision_space.fields:
            raise ConfigError(
                f"reward {version!r} compares images and reads prune ratios; this generator makes "
                f"{generator.output_kind!r} and decides {list(generator.decision_space.fields)}"
                + ("; use the one it was made from" if generator.output_kind == "tabulated" else "")
            )
        self.version, self.generator, self.references = version, generator, references
        by_name = {scorer.name: scorer for scorer in scorers}
        found = [by_name[name] for name in DISTANCES[version] if name in by_name]
        if not found:
            raise ConfigError(
                f"reward {version!r} needs the figure {' or '.join(DISTANCES[version])}; the "
                f"scorers are {sorted(by_name)}"
            )
        self._distance = found[0]
        self._ms_ssim = by_name.get("ms_ssim")
        self._told = False

    def prepare(self, episodes: Sequence[Episode]) -> None:
        """Look up or make the unpruned pictures of these episodes: [places, H, W, 3] each."""
        requests = [episode.request for episode in episodes]
        found = self.references.get(self.generator, requests, last_pictures, "last pictures")
        for episode, pictures in zip(episodes, found, strict=True):
            episode.pictures = pictures

    def forced(self, episode: Episode, stage: int) -> bool:
        """Whether nothing may be pruned here: the predecessor's agent acts on the last four."""
        return stage < len(episode.stages) - PLACES

    def __call__(
        self,
        state: Any,
        episodes: Sequence[Episode],
        decisions: Sequence[Decision],
        stages: np.ndarray,
    ) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Reward the stage that each row has just taken.

        Args:
            state: after the stage; B rows.
            episodes: before this stage is entered into their books.
            decisions: that were taken.
            stages: [B] that were taken.

        Returns:
            [B] float64 rewards, and what the predecessor tells of each step.
        """
        places = [int(s) - len(e.stages) + PLACES for e, s in zip(episodes, stages, strict=True)]
        rewarded = [row for row, place in enumerate(places) if place >= 0]
        figures: dict[int, dict[str, float]] = {}
        if rewarded:
            images = self.generator.preview(state, rewarded)
            expected = [_picture(episodes[row], places[row]) for row in rewarded]
            labels = [episodes[row].request.label for row in rewarded]
            scores = self._compare(np.asarray(images), np.stack(expected), labels)
            figures = dict(zip(rewarded, scores, strict=True))
        rewards, infos = np.zeros(len(episodes)), []
        for row, (episode, decision) in enumerate(zip(episodes, decisions, strict=True)):
            ratio = float(decision["prune_ratio"])
            first = max(0, len(episode.stages) - PLACES)
            taken = [float(each["prune_ratio"]) for each in episode.decisions[first:]]
            info = self._tell(episode, figures.get(row), [*taken, ratio], places[row])
            rewards[row] = info["total_reward"]
            infos.append({"scale_index": int(stages[row]), "prune_ratio": ratio, **info})
        return rewards, infos

    def _tell(
        self,
        episode: Episode,
        figures: Mapping[str, float] | None,
        ratios: list[float],
        place: int,
    ) -> dict[str, Any]:
        """Terms and figures of one row; zeros, as it was, before the first rewarded stage."""
        alpha = ALPHA[self.version]
        if figures is None:
            names = [self._distance.name]
            if self.version != "v3":
                names.append(self._structure_name(_picture(episode, PLACES - 1)))
            zeros = ("quality_score", "speed_score", "quality_reward", "speed_reward")
            info = dict.fromkeys([*zeros, "total_reward", "psnr", *names], 0.0)
        else:
            ratios = [0.0] * (place + 1 - len(ratios)) + ratios  # of shorter schedules
            similarity = figures["similarity"]
            info = asdict(FORMULAS[self.version](similarity, ratios))
            info |= {name: value for name, value in figures.items() if name != "similarity"}
        told: dict[str, Any] = {**info, "alpha": alpha}
        if self.version != "v3":
            parts = {"alpha_quality": alpha * info["quality_reward"]}
            told["reward_components"] = parts | {"beta_speed": info["speed_reward"]}
        return told

    def _compare(
        self, images: np.ndarray, references: np.ndarray, labels: Sequence[str]
    ) -> list[dict[str, float]]:
        """For each pair uint8 [n, H, W, 3] `similarity` and what it is made of."""
        x, y = torch.from_numpy(images.copy()), torch.from_numpy(references)
        squared_errors = mean_squared_error(x, y).tolist()
        columns = {"psnr": [psnr_of_unit_images(error / 255**2) for error in squared_errors]}
        distances = self._distance(x, y, labels).tolist()
        if self.version == "v3":
            columns["similarity"] = [similarity_v3(distance) for distance in distances]
            columns["dreamsim"] = columns["similarity"]
        else:
            name = self._structure_name(references[0])
            if name == "ssim":
                structures = ssim(x, y).tolist()
            else:
                assert self._ms_ssim is not None
                structures = self._ms_ssim(x, y, labels).tolist()
            combine = agreement if self.version == "v1" else similarity_v2
            columns[name], columns[self._distance.name] = structures, distances
            pairs = zip(structures, distances, strict=True)
            columns["similarity"] = [combine(*pair) for pair in pairs]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _structure_name(self, image: np.ndarray) -> str:
        """`ms_ssim`, or `ssim` where MS-SSIM refuses images [H, W, 3] as small as this one."""
        side = min(image.shape[:2])
        if self._ms_ssim is not None and side >= self._ms_ssim.minimum_side:
            return "ms_ssim"
        if not self._told:
            self._told = True
            why = f"images of {side} pixels are too small for it"
            if self._ms_ssim is None:
                why = "it is not among the scorers"
            logger.warning(
                "reward %r: SSIM stands in for MS-SSIM (%s), as `ssim` in the infos",
                self.version,
                why,
            )
        return "ssim"


def last_pictures(generator: Generator, requests: Sequence[Any]) -> list[np.ndarray]:
    """The pictures after each of the last four stages with nothing pruned, [places, H, W, 3]."""
    state = generator.begin(requests)
    lengths = np.array([len(generator.stages(request)) for request in requests])
    pictures: list[list[np.ndarray]] = [[] for _ in requests]
    full = full_decisions(generator, len(requests))
    while not state.done.all():
        running = np.flatnonzero(~state.done)
        state = generator.advance(state, full)
        shown = running[state.stage[running] > (lengths - PLACES)[running]].tolist()
        if shown:
            for row, image in zip(shown, generator.preview(state, shown), strict=True):
                pictures[row].append(np.array(image))
    return [np.stack(each) for each in pictures]


def _picture(episode: Episode, place: int) -> np.ndarray:
    assert episode.pictures is not None
    return episode.pictures[place - PLACES + len(episode.pictures)]
