"""Train a pruning policy with PPO, from the first request to the saved policy.

The learning itself is Stable-Baselines3's. The loop is written out here, because between two
rollouts everything that the run consists of is saved: a run that is killed at any moment and
resumed ends with the same weights, bit by bit, as one that was left alone (on the CPU).
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.constraint import Constraint
from agents.evaluation import evaluate_controller
from agents.interruption import StopRequest
from agents.policy_controller import PolicyController
from agents.policy_file import PolicyDefinition, save_policy
from agents.ppo_model import define_policy, learned_rewards, make_model, standardise_input
from agents.ppo_settings import TrainSettings
from agents.run_folder import locked, start_or_resume
from agents.tensorboard import make_logger
from agents.training_log import RolloutRecorder, log_evaluation, log_rollout
from agents.training_state import load_training_state, save_training_state
from base.files import write_json
from envs.final_fidelity import Scorer, falling_figures
from envs.generator import Generator
from envs.prefixes import PrefixCache
from envs.prices import LatencyTable
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a rollout, for whoever shows it.

    Attributes:
        rollouts: done so far.
        total_rollouts: to do in all.
        rollout: mean figures of the last rollout: `return`, `saved`, fidelity.
        evaluation: the same of the last evaluation, with `steps`.
    """

    rollouts: int
    total_rollouts: int
    rollout: dict[str, float]
    evaluation: dict[str, float]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        finished: False if a signal stopped it.
        steps: environment steps in all.
        episodes: episodes that ended.
        evaluations: of each evaluation the step and the mean of each figure.
    """

    finished: bool
    steps: int
    episodes: int
    evaluations: list[dict[str, float]]


def train(
    generator: Generator,
    requests: Sequence[Any],
    evaluation_requests: Sequence[Any],
    settings: TrainSettings,
    run_dir: Path,
    resume: bool = False,
    scorers: Sequence[Scorer] = (),
    latency_table: LatencyTable | None = None,
    reference_cache: ReferenceCache | None = None,
    prefix_cache: PrefixCache | None = None,
    environment_scorers: Sequence[Scorer] = (),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainResult:
    """Train, evaluate and save.

    Args:
        generator: what is controlled.
        requests: episodes are drawn from these.
        evaluation_requests: held out.
        settings: all that the result depends on besides the generator and the requests.
        run_dir: gets `best/`, `last/`, the checkpoint, `evaluations.json` and `tensorboard/`.
        resume: go on from the checkpoint in `run_dir`.
        scorers: further figures at evaluations.
        latency_table: for figures in milliseconds.
        reference_cache: where references are kept; by default in `run_dir`. They must outlive a
            kill: made again in another batch, a bit of one may fall the other way.
        prefix_cache: where states before the first decision are kept; by default in memory.
        environment_scorers: further figures at every episode, for rewards that read them.
        on_progress: called after each rollout.

    Raises:
        ConfigError: settings that cannot be used, or that differ from those of the resumed run.
        CheckpointError: nothing to resume from, or damaged files.
    """
    _warn_if_not_held_out(requests, evaluation_requests)
    with locked(run_dir), StopRequest("finishing this rollout, then saving") as stop:
        start_or_resume(
            run_dir, _identity(generator, requests, evaluation_requests, settings), resume
        )
        cache = reference_cache or ReferenceCache(run_dir / "references")
        env = PruningVecEnv(
            generator,
            requests,
            settings.ppo.num_envs,
            reference_cache=cache,
            prefix_cache=prefix_cache,
            latency_table=latency_table,
            scorers=environment_scorers,
            repeats=settings.ppo.repeats,
            fidelity=settings.constraint.figure if settings.constraint else None,
            **vars(settings.environment),
        )
        constraint = _constraint(settings, falling_figures(generator, environment_scorers))
        learned_from = learned_rewards(env, generator, requests, settings, cache)
        model = make_model(learned_from, generator, settings)
        recorder = RolloutRecorder()
        total_steps = settings.num_rollouts() * model.n_steps * env.num_envs
        if not resume:
            standardise_input(model, env, settings)
        env.seed(settings.seed)
        _, callback = model._setup_learn(total_steps, recorder)

        rollouts, episodes, evaluations = 0, 0, []
        if resume:
            saved = load_training_state(run_dir, model)
            rollouts, episodes = saved["rollouts"], saved["episodes"]
            evaluations = saved["evaluations"]
            if constraint is not None:
                constraint.price = saved["price"]
        model.set_logger(make_logger(run_dir / "tensorboard", model.num_timesteps))

        def definition() -> PolicyDefinition:
            found = define_policy(env, generator, settings)
            return replace(found, preference=constraint.preference) if constraint else found

        def evaluate() -> None:
            weights = (constraint.preference,) if constraint else settings.evaluation_weights()
            found = [
                evaluate_controller(
                    generator,
                    PolicyController("", "", model.policy, definition(), generator, weight),
                    evaluation_requests,
                    cache,
                    weight,
                    batch_size=env.num_envs,
                    scorers=scorers,
                    latency_table=latency_table,
                    cost=settings.environment.cost,
                )
                for weight in weights
            ]
            evaluation = found[len(found) // 2]
            # One policy serves all weights of its range: the best one is so on average.
            returns = np.array([each.means["return"] for each in found])
            if settings.ppo.in_compute:
                returns /= weights
            score = constraint.score(evaluation.means) if constraint else float(returns.mean())
            best_before = max((entry["return"] for entry in evaluations), default=-math.inf)
            evaluations.append({"steps": model.num_timesteps, **evaluation.means, "return": score})
            if constraint is not None:
                evaluations[-1]["preference"] = constraint.preference
            if score > best_before:
                save_policy(run_dir / "best", model.policy, definition())
            write_json(run_dir / "evaluations.json", evaluations)
            log_evaluation(model.logger, evaluation)

        def save() -> None:
            save_policy(run_dir / "last", model.policy, definition())
            state = {"rollouts": rollouts, "episodes": episodes, "evaluations": evaluations}
            if constraint is not None:
                state["price"] = constraint.price
            save_training_state(run_dir, model, state)

        if not resume:
            evaluate()  # where it starts from
            model.logger.dump(step=model.num_timesteps)
            save()
        while rollouts < settings.num_rollouts() and not stop.requested:
            began = time.perf_counter()
            if constraint is not None:
                env.core.order.set_preference(constraint.preference)
            model.collect_rollouts(learned_from, callback, model.rollout_buffer, model.n_steps)
            model._update_current_progress_remaining(model.num_timesteps, total_steps)
            model.train()
            rollouts += 1
            episodes += len(recorder.summaries)
            rate = model.n_steps * env.num_envs / (time.perf_counter() - began)
            log_rollout(model.logger, recorder, rate)
            if constraint is not None:
                constraint.learn(recorder.means()[constraint.options.figure])
                model.logger.record("rollout/preference", constraint.preference)
            last = rollouts == settings.num_rollouts()
            if last or rollouts % settings.evaluate_every == 0:
                evaluate()
            model.logger.dump(step=model.num_timesteps)
            if last or rollouts % settings.checkpoint_every == 0:
                save()
            on_progress(
                Progress(rollouts, settings.num_rollouts(), recorder.means(), evaluations[-1])
            )
        if stop.requested:
            save()
        model.logger.close()
        finished = rollouts == settings.num_rollouts()
        return TrainResult(finished, model.num_timesteps, episodes, evaluations)


def _constraint(settings: TrainSettings, falling: set[str]) -> Constraint | None:
    """The constraint to begin with, if there is one."""
    if settings.constraint is None:
        return None
    return Constraint(settings.constraint, settings.constraint.figure in falling)


def _warn_if_not_held_out(requests: Sequence[Any], evaluation_requests: Sequence[Any]) -> None:
    common = {request.label for request in requests} & {r.label for r in evaluation_requests}
    if common:
        logger.warning(
            "%d of the evaluation prompts are trained on as well, such as %r: figures will flatter",
            len(common),
            min(common),
        )


def _identity(
    generator: Generator,
    requests: Sequence[Any],
    evaluation_requests: Sequence[Any],
    settings: TrainSettings,
) -> dict[str, Any]:
    """All that the result depends on: a run is only resumed under the same."""

    def name(several: Sequence[Any]) -> str:
        keys = "\n".join(request.key for request in several)
        return f"{len(several)} with SHA-256 {hashlib.sha256(keys.encode()).hexdigest()[:16]}"

    return settings.plain() | {
        "fingerprint": generator.fingerprint,
        "requests": name(requests),
        "evaluation_requests": name(evaluation_requests),
    }
