"""Learned rewards of images, as the process at the other end of `eval.metrics.process`.

This file is run by the Python of any environment that has the package of the reward; it needs
nothing of this project: `python reward_worker.py image_reward cuda`. Nothing is downloaded.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import IO, Any

Score = Callable[[list[str], list[str]], list[float]]  # of paths of images and their prompts


def image_reward(device: str) -> tuple[Score, str]:
    """ImageReward-v1.0 (Xu et al. 2023): an unbounded number, about 0 on average."""
    import ImageReward

    model = ImageReward.load("ImageReward-v1.0", device=device)
    return (
        lambda images, prompts: [model.score(p, i) for i, p in zip(images, prompts, strict=True)],
        "ImageReward-v1.0, package image-reward",
    )


def hpsv2(device: str) -> tuple[Score, str]:
    """Human Preference Score v2.1 (Wu et al. 2023): a cosine, about 0.2 to 0.3."""
    import hpsv2 as package

    return (
        lambda images, prompts: [
            float(package.score(image, prompt, hps_version="v2.1")[0])
            for image, prompt in zip(images, prompts, strict=True)
        ],
        "HPS v2.1, package hpsv2; not multiplied by 100",
    )


def hpsv3(device: str) -> tuple[Score, str]:
    """Human Preference Score v3 (Ma et al. 2025): the mean of its normal distribution."""
    from hpsv3 import HPSv3RewardInferencer

    model = HPSv3RewardInferencer(device=device)
    return (
        # by keyword: the order of the two differs between versions of the package
        lambda images, prompts: [
            float(reward[0]) for reward in model.reward(image_paths=images, prompts=prompts)
        ],
        "HPSv3 (mu), package hpsv3",
    )


def viescore(device: str) -> tuple[Score, str]:
    """VIEScore (Ku et al. 2024) by Gemini: sqrt(semantic consistency x quality), 0 to 10."""
    if not os.environ.get("GEMINI_API_KEY"):
        raise KeyError("the environment variable GEMINI_API_KEY is not set")
    from PIL import Image
    from viescore import VIEScore

    judge = VIEScore(backbone="gemini", task="t2i")
    return (
        lambda images, prompts: [
            float(judge.evaluate(Image.open(image), prompt)[-1])
            for image, prompt in zip(images, prompts, strict=True)
        ],
        "VIEScore overall, task t2i, backbone gemini; a judge on a server: not reproducible",
    )


REWARDS = {reward.__name__: reward for reward in (image_reward, hpsv2, hpsv3, viescore)}


def main(name: str, device: str, requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until there are no more."""

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        score, provenance = REWARDS[name](device)
    except Exception as error:  # a package or weights that are missing, in whatever way they say it
        say({"unavailable": f"{type(error).__name__}: {error} ({sys.executable})"})
        return
    say(
        {
            "name": name,
            "higher_is_better": True,
            "needs_reference": False,
            "needs_prompt": True,
            "minimum_side": 1,
            "provenance": provenance,
        }
    )
    for line in requests:
        request = json.loads(line)
        try:
            say({"values": [float(v) for v in score(request["images"], request["prompts"])]})
        except Exception as error:  # the evaluator goes on with other images
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the packages print must not get among the answers
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main(sys.argv[1], sys.argv[2], sys.stdin, channel)
