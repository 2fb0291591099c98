"""Steps of the environment a second, against the predecessor's way of doing the same job.

    python -m benchmarks.throughput

Both sides take the same decisions on the same requests with the same weights and the same scorers.
The predecessor's way: one request at a time; text and the undecided prefix anew in every episode,
references from disk; every stage decoded; every decided stage scored. Each remedy is then switched
on in turn, until all that is left is what the environment does. References are made before anything
is timed. All ways take turns, round after round; figures are medians of the rounds, of seconds and
of processor seconds (which a busy machine changes less).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.deterministic_actions import deterministic_actions
from agents.latency import untrained_policy
from benchmarks.record import record
from commands.wiring import KEPT_SCORING_BYTES, load_generator, load_prompts, make_requests
from envs.final_fidelity import Scorer, final_fidelity
from envs.prefixes import PrefixCache, run_full
from envs.references import ReferenceCache
from envs.replay import full_decisions
from envs.sb3_vec_env import PruningVecEnv
from envs.stage_reward import PLACES, last_pictures
from eval.metrics.lpips import Lpips
from infinity_backend.text_encoder import MEMORY_BYTES

FIRST = 3  # of the small model's seven stages; the last four are decided


@dataclass(frozen=True)
class Way:
    """One way of running the same episodes; the defaults are the predecessor's."""

    name: str
    score_every_step: bool = True
    decode_every_stage: bool = True
    kept: bool = False  # text features, references and what LPIPS makes of these, in memory
    prefix_kept: bool = False
    batch_size: int = 1


PREDECESSOR = Way("the predecessor's way")
ONCE = replace(PREDECESSOR, name="+ scored once", score_every_step=False)
DECODED = replace(ONCE, name="+ decoded once", decode_every_stage=False)
KEPT = replace(DECODED, name="+ text and references kept", kept=True)
PREFIX = replace(KEPT, name="+ prefix kept", prefix_kept=True)


class Job:
    """The episodes: requests, decisions, and what is known of them before the clock starts."""

    def __init__(self, generator: Any, requests: Sequence[Any], folder: Path, seed: int = 0):
        self.generator, self.requests = generator, requests
        self.num_stages = len(generator.stages(requests[0]))
        self.actions = np.random.default_rng(seed).integers(0, 4, (self.num_stages, len(requests)))
        self.on_disk = ReferenceCache(folder, memory_bytes=1)
        self.in_memory = ReferenceCache(folder)
        self.prefixes = PrefixCache()
        for cache in (self.on_disk, self.in_memory):
            cache.get(generator, requests)
            cache.get(generator, requests, last_pictures, "last pictures")
        self.prefixes.get(generator, requests, FIRST)

    def run(self, way: Way, scorers: Sequence[Any] | None) -> None:
        """All episodes in this way; no scorers at all, not even SSIM, when it is None."""
        texts = self.generator.pipeline.text_encoder.kept.memory
        texts.limit_bytes = MEMORY_BYTES if way.kept else 1
        for scorer in scorers or ():
            scorer.kept.limit_bytes = KEPT_SCORING_BYTES if way.kept else 0
        for start in range(0, len(self.requests), way.batch_size):
            self._episodes(way, scorers, range(start, start + way.batch_size))

    def _episodes(self, way: Way, scorers: Sequence[Scorer] | None, rows: Sequence[int]) -> None:
        generator, requests = self.generator, [self.requests[row] for row in rows]
        cache = self.in_memory if way.kept else self.on_disk
        if way.score_every_step:
            pictures = np.stack(cache.get(generator, requests, last_pictures, "last pictures"))
        else:
            pictures = np.stack(cache.get(generator, requests))[:, None]
        if way.prefix_kept:
            state = self.prefixes.get(generator, requests, FIRST)
        elif way.decode_every_stage:
            state = generator.begin(requests)
            for _ in range(FIRST):
                state = generator.advance(state, full_decisions(generator, len(rows)))
                generator.preview(state)
        else:
            state = run_full(generator, requests, FIRST)
        menu = generator.decision_space.menu
        for stage in range(FIRST, self.num_stages):
            decisions = [
                generator.decision_space.complete(menu[self.actions[stage, r]]) for r in rows
            ]
            generator.cost(state, decisions)
            state = generator.advance(state, decisions)
            generator.latent(state)  # what its policy looked at
            last = stage == self.num_stages - 1
            if last or way.decode_every_stage or way.score_every_step:
                images = generator.preview(state)
            if scorers is not None and (last or way.score_every_step):
                place = stage - self.num_stages + pictures.shape[1]
                labels = [request.label for request in requests]
                final_fidelity(generator, images, pictures[:, place], scorers, labels)

    @property
    def steps(self) -> int:
        """Decided steps of all episodes."""
        return PLACES * len(self.requests)


class Environment:
    """The environment itself, with a policy that is asked at every step; its time is split up."""

    def __init__(self, job: Job, scorers: Sequence[Scorer] | None):
        self.job = job
        self.env = PruningVecEnv(
            job.generator,
            job.requests,
            len(job.requests),
            first_controlled_stage=FIRST,
            shuffle=False,
            reference_cache=job.in_memory,
            prefix_cache=job.prefixes,
            scorers=scorers or (),
        )
        self.seconds: dict[str, float] = {}
        if scorers is None:
            self.env.core._fidelity = lambda outputs, episodes: {  # type: ignore[method-assign]
                "none": np.zeros(len(episodes))
            }
        self.env.seed(0)
        self.observations = self.env.reset()
        self.decide = partial(deterministic_actions, untrained_policy(job.generator))

    def run(self) -> None:
        """As many steps as the job has; the policy is asked at each, and then overruled."""
        for stage in range(FIRST, self.job.num_stages):
            self.decide(self.observations)
            self.observations, *_ = self.env.step(self.job.actions[stage])

    def shares(self) -> dict[str, float]:
        """Milliseconds of a batch step by who spends them."""
        core, spent = self.env.core, self.seconds
        originals = {}
        for owner, name, label in (
            (core.generator, "advance", "model"),
            (core.generator, "finish", "decoding"),
            (core, "_fidelity", "scoring"),
            (core, "observe", "observation and features"),
            (core.prefixes, "get", "prefixes from memory"),
            (self, "decide", "policy"),
        ):
            originals[owner, name] = getattr(owner, name)
            setattr(owner, name, _timed(originals[owner, name], spent, label))
        began = time.perf_counter()
        self.run()
        spent["all in all"] = time.perf_counter() - began
        for (owner, name), original in originals.items():
            setattr(owner, name, original)
        steps = self.job.num_stages - FIRST
        found = {label: 1000 * seconds / steps for label, seconds in spent.items()}
        spent.clear()
        return found


def _timed(function: Callable[..., Any], spent: dict[str, float], label: str) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent[label] = spent.get(label, 0.0) + time.perf_counter() - began

    return timed


def measure(job: Job, rounds: int, scorers: Sequence[Scorer] | None) -> list[dict[str, Any]]:
    """Steps a second of every way, cumulative remedies and their factors."""
    ways = [PREDECESSOR, ONCE, DECODED, KEPT, PREFIX]
    ways.append(replace(PREFIX, name="+ one batch", batch_size=len(job.requests)))
    environment = Environment(job, scorers)
    runs: dict[str, Callable[[], None]] = {
        way.name: (lambda way=way: job.run(way, scorers)) for way in ways
    }
    runs["the environment"] = environment.run
    spent: dict[str, list[np.ndarray]] = {name: [] for name in runs}
    for number in range(rounds + 1):  # the first round warms up
        for name, run in runs.items():
            began = np.array([time.perf_counter(), time.process_time()])
            run()
            if number:
                spent[name].append(np.array([time.perf_counter(), time.process_time()]) - began)
    medians = {name: np.median(times, axis=0) for name, times in spent.items()}
    rows = []
    for before, (name, median) in zip([PREDECESSOR.name, *medians], medians.items(), strict=False):
        rows.append(
            {
                "way": name,
                "steps_per_second": round(job.steps / median[0], 2),
                "factor": round(medians[before][0] / median[0], 2),
                "factor_in_all": round(medians[PREDECESSOR.name][0] / median[0], 2),
                "processor_factor": round(medians[before][1] / median[1], 2),
                "processor_factor_in_all": round(medians[PREDECESSOR.name][1] / median[1], 2),
                "seconds": [round(float(each[0]), 3) for each in spent[name]],
                "processor_seconds": [round(float(each[1]), 3) for each in spent[name]],
            }
        )
    return rows


def measure_shares(job: Job, rounds: int, scorers: Sequence[Scorer]) -> dict[str, Any]:
    """Where a batch step's time goes; what is not model, scoring or prefixes is environment."""
    environment = Environment(job, scorers)
    found = [environment.shares() for _ in range(rounds + 1)][1:]
    parts = ("model", "decoding", "scoring", "prefixes from memory")
    for each in found:
        each["the rest"] = each["all in all"] - sum(each[name] for name in parts)
    medians = {name: statistics.median(each[name] for each in found) for name in found[0]}
    shares = [each["the rest"] / each["all in all"] for each in found]
    return {
        "milliseconds_of_a_batch_step": {name: round(ms, 3) for name, ms in medians.items()},
        "environment_features_and_policy_ms": round(medians["the rest"], 3),
        "environment_features_and_policy_share": round(statistics.median(shares), 4),
    }


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    generator = load_generator("scenes")
    requests = make_requests(generator, load_prompts(f"scenes:train:{options.requests}"))
    scorers: list[Any] = [Lpips("vgg", "stand-in", kept_bytes=KEPT_SCORING_BYTES)]
    with tempfile.TemporaryDirectory() as folder:
        job = Job(generator, requests, Path(folder))
        scored = measure(job, options.rounds, scorers)
        unscored = measure(job, options.rounds, None)
        shares = {
            "scored_by_ssim_psnr_and_lpips": measure_shares(job, options.rounds, scorers),
            "scored_by_ssim_and_psnr": measure_shares(job, options.rounds, []),
        }
    for title, rows in (("scored by SSIM, PSNR, LPIPS (VGG)", scored), ("not scored", unscored)):
        heads = ("way", "steps a second", "factor", "in all", "by processor time", "in all")
        table = Table(*heads, title=title)
        for row in rows:
            table.add_row(row["way"], *(f"{row[key]:.2f}" for key in list(row)[1:6]))
        Console().print(table)
    Console().print(shares)
    figures = {
        "requests": options.requests,
        "rounds": options.rounds,
        "scorers": ["ssim and psnr", *(f"{s.name}: {s.provenance}" for s in scorers)],
        "with_scoring": scored,
        "without_scoring": unscored,
        "shares": shares,
        "prefix_cache_bytes": job.prefixes.kept.memory.used_bytes,
    }
    Console().print(f"written: {record('throughput', figures)}")


if __name__ == "__main__":
    main()
