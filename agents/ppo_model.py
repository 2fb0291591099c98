"""What `agents/ppo.py` trains: the learner, and what it is shown."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from agents.parse_controller import parse_controller
from agents.policy_file import PolicyDefinition
from agents.ppo_settings import TrainSettings
from agents.relative_return import Earned, RelativeReturn, earned_by, earned_in_table
from agents.standardised_input import StandardisedInput, input_layer, observe_random_actions
from base.errors import ConfigError
from envs.generator import Generator, policy_fingerprint
from envs.references import ReferenceCache
from envs.sb3_vec_env import PruningVecEnv

Learner: TypeAlias = PPO | MaskablePPO


def make_model(env: VecEnv, generator: Generator, settings: TrainSettings) -> Learner:
    """PPO, or with `ppo.masked` the one of sb3-contrib that only draws allowed actions.

    Raises:
        ConfigError: masks for actions that are not of a menu.
    """
    ppo = settings.ppo
    if ppo.masked and settings.environment.action_mode != "discrete":
        raise ConfigError(
            "ppo.masked needs environment.action_mode 'discrete'; this one is "
            f"{settings.environment.action_mode!r}, which has no menu to mask"
        )
    learner: type[PPO] | type[MaskablePPO] = MaskablePPO if ppo.masked else PPO
    steps_per_episode = generator.max_stages - settings.environment.first_controlled_stage
    return learner(
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
            "features_extractor_class": input_layer(env.observation_space),
            "optimizer_class": torch.optim.AdamW,
            "optimizer_kwargs": {"weight_decay": ppo.weight_decay, "eps": 1e-5},
        },
        seed=settings.seed,
        device="cpu",  # the policy is tiny; and resuming is exact only there
    )


def learned_rewards(
    env: PruningVecEnv,
    generator: Generator,
    requests: Sequence[Any],
    settings: TrainSettings,
    cache: ReferenceCache,
) -> VecEnv:
    """The environment with the rewards that are learned from."""
    fixed, in_compute = settings.ppo.relative_to, settings.ppo.in_compute
    if not fixed and not in_compute and settings.ppo.repeats == 1:
        return env
    earned: Earned | None = None
    if fixed == "table":
        earned = earned_in_table(generator, requests)
    elif fixed:
        names = [fixed] if isinstance(fixed, str) else fixed
        controllers = [parse_controller(name, generator, requests[0]) for name in names]
        earned = earned_by(controllers, generator, requests, cache)
    return RelativeReturn(env, earned, in_compute)


def standardise_input(model: Learner, env: PruningVecEnv, settings: TrainSettings) -> None:
    """Measure how large each column of the observation is, before the first rollout."""
    episodes = settings.ppo.num_envs * settings.ppo.rollout_episodes
    extractor = model.policy.features_extractor
    assert isinstance(extractor, StandardisedInput)
    extractor.measure(observe_random_actions(env, episodes, settings.seed))


def define_policy(
    env: PruningVecEnv, generator: Generator, settings: TrainSettings
) -> PolicyDefinition:
    """What goes into the policy's file beside its weights."""
    return PolicyDefinition(
        fingerprint=policy_fingerprint(generator),
        num_stages=generator.max_stages,
        observation=env.core.observation.names,
        action_mode=settings.environment.action_mode,
        menu=env.core.actions.menu,
        first_controlled_stage=settings.environment.first_controlled_stage,
        preference=settings.environment.preference,
        net_arch=settings.ppo.net_arch,
        masked=settings.ppo.masked,
        obs_mode=settings.environment.obs_mode,
    )
