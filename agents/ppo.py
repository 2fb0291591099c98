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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from agents.evaluation import evaluate_controller
from agents.interruption import StopRequest
from agents.parse_controller import parse_controller
from agents.policy_controller import PolicyController
from agents.policy_file import PolicyDefinition, save_policy
from agents.ppo_settings import TrainSettings
from agents.relative_return import Earned, RelativeReturn, earned_by, earned_in_table
from agents.run_folder import locked, start_or_resume
from agents.standardised_input import StandardisedInput, observe_random_actions
from agents.tensorboard import make_logger
from agents.training_log import RolloutRecorder, log_evaluation, log_rollout
from agents.training_state import load_training_state, save_training_state
from base.files import write_json
from envs.final_fidelity import Scorer
from envs.generator import Generator
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
            latency_table=latency_table,
            **vars(settings.environment),
        )
        learned_from: VecEnv = env
        if settings.ppo.relative_to or settings.ppo.in_compute:
            earned = _earned(settings.ppo.relative_to, generator, requests, cache)
            learned_from = RelativeReturn(env, earned, settings.ppo.in_compute)
        model = _make_model(learned_from, generator, settings)
        definition = _define_policy(env, generator, settings)
        controllers = [
            PolicyController("policy", "in training", model.policy, definition, generator, weight)
            for weight in settings.evaluation_weights()
        ]
        recorder = RolloutRecorder()
        total_steps = settings.num_rollouts() * model.n_steps * env.num_envs
        if not resume:
            _standardise_input(model, env, settings)
        env.seed(settings.seed)
        _, callback = model._setup_learn(total_steps, recorder)

        rollouts, episodes, evaluations = 0, 0, []
        if resume:
            saved = load_training_state(run_dir, model)
            rollouts, episodes = saved["rollouts"], saved["episodes"]
            evaluations = saved["evaluations"]
        model.set_logger(make_logger(run_dir / "tensorboard", model.num_timesteps))

        def evaluate() -> None:
            found = [
                evaluate_controller(
                    generator,
                    controller,
                    evaluation_requests,
                    cache,
                    controller.preference,
                    batch_size=env.num_envs,
                    scorers=scorers,
                    latency_table=latency_table,
                )
                for controller in controllers
            ]
            evaluation = found[len(found) // 2]
            # One policy serves all weights of its range: the best one is so on average.
            returns = np.array([each.means["return"] for each in found])
            if settings.ppo.in_compute:
                returns /= [controller.preference for controller in controllers]
            score = float(returns.mean())
            best_before = max((entry["return"] for entry in evaluations), default=-math.inf)
            evaluations.append({"steps": model.num_timesteps, **evaluation.means, "return": score})
            if score > best_before:
                save_policy(run_dir / "best", model.policy, definition)
            write_json(run_dir / "evaluations.json", evaluations)
            log_evaluation(model.logger, evaluation)

        def save() -> None:
            save_policy(run_dir / "last", model.policy, definition)
            state = {"rollouts": rollouts, "episodes": episodes, "evaluations": evaluations}
            save_training_state(run_dir, model, state)

        if not resume:
            evaluate()  # where it starts from
            model.logger.dump(step=model.num_timesteps)
            save()
        while rollouts < settings.num_rollouts() and not stop.requested:
            began = time.perf_counter()
            model.collect_rollouts(learned_from, callback, model.rollout_buffer, model.n_steps)
            model._update_current_progress_remaining(model.num_timesteps, total_steps)
            model.train()
            rollouts += 1
            episodes += len(recorder.summaries)
            rate = model.n_steps * env.num_envs / (time.perf_counter() - began)
            log_rollout(model.logger, recorder, rate)
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


def _warn_if_not_held_out(requests: Sequence[Any], evaluation_requests: Sequence[Any]) -> None:
    common = {request.label for request in requests} & {r.label for r in evaluation_requests}
    if common:
        logger.warning(
            "%d of the evaluation prompts are trained on as well, such as %r: figures will flatter",
            len(common),
            min(common),
        )


def _make_model(env: VecEnv, generator: Generator, settings: TrainSettings) -> PPO:
    ppo = settings.ppo
    steps_per_episode = generator.max_stages - settings.environment.first_controlled_stage
    return PPO(
        "MlpPolicy",
        env,
        n_steps=ppo.rollout_episodes * steps_per_episode,
        batch_size=ppo.batch_size,
        n_epochs=ppo.num_epochs,
        learning_rate=LinearSchedule(ppo.learning_rate, 0.0, 1.0),
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.entropy_coefficient,
        vf_coef=ppo.value_coefficient,
        max_grad_norm=ppo.max_gradient_norm,
        policy_kwargs={
            "net_arch": list(ppo.net_arch),
            "features_extractor_class": StandardisedInput,
            "optimizer_class": torch.optim.AdamW,
            "optimizer_kwargs": {"weight_decay": ppo.weight_decay, "eps": 1e-5},
        },
        seed=settings.seed,
        device="cpu",  # the policy is tiny; and resuming is exact only there
    )


def _earned(
    fixed: str | list[str] | None, generator: Generator, requests: Sequence[Any], cache: Any
) -> Earned | None:
    """What the controllers that returns are relative to earn."""
    if fixed == "table":
        return earned_in_table(generator, requests)
    names = [fixed] if isinstance(fixed, str) else fixed or []
    controllers = [parse_controller(name, generator, requests[0]) for name in names]
    return earned_by(controllers, generator, requests, cache) if controllers else None


def _standardise_input(model: PPO, env: PruningVecEnv, settings: TrainSettings) -> None:
    """Measure how large each column of the observation is, before the first rollout."""
    episodes = settings.ppo.num_envs * settings.ppo.rollout_episodes
    extractor = model.policy.features_extractor
    assert isinstance(extractor, StandardisedInput)
    extractor.measure(observe_random_actions(env, episodes, settings.seed))


def _define_policy(
    env: PruningVecEnv, generator: Generator, settings: TrainSettings
) -> PolicyDefinition:
    return PolicyDefinition(
        fingerprint=generator.fingerprint,
        num_stages=generator.max_stages,
        observation=env.core.observation.names,
        action_mode=settings.environment.action_mode,
        menu=env.core.actions.menu,
        first_controlled_stage=settings.environment.first_controlled_stage,
        preference=settings.environment.preference,
        net_arch=settings.ppo.net_arch,
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
