"""The batched environment: B rows stepped together, one request each.

`PruningEnv` is this core with one row; `PruningVectorEnv` and `PruningVecEnv` put the Gymnasium and
the Stable-Baselines3 interface on it. Rows end at different times; whoever steps the core calls
`start` for those that ended.

Glossary: B rows, O columns of an observation, n decisions of the menu.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.error import ResetNeeded

from base.errors import ConfigError, DataError, GenerationError
from envs.actions import action_encoding
from envs.episode import Episode
from envs.final_fidelity import falling_figures, final_fidelity, quality
from envs.generator import Generator, Request
from envs.latent_observation import observation_of
from envs.order import RequestOrder
from envs.pictures import pictures_of, shows_pictures
from envs.predecessor import FORMULAS
from envs.prefixes import PrefixCache, run_full
from envs.prices import Prices, told_latency
from envs.references import ReferenceCache
from envs.replacement import permitted
from envs.replay import full_decisions, replay
from envs.reward import REWARDS, check_finite
from envs.settings import EnvSettings
from envs.stage_reward import StageReward


class Step(NamedTuple):
    """What one step gives: [B] rewards (float64), [B] whether the row ended, B infos."""

    rewards: np.ndarray
    terminated: np.ndarray
    infos: list[dict[str, Any]]


class PruningCore:
    """B episodes side by side.

    Args:
        generator: makes the outputs.
        requests: what episodes are drawn from.
        num_rows: B.
        settings: see `PruningEnv`.

    Raises:
        ConfigError: no requests, two with one key, no row, or a setting that cannot be used.
    """

    def __init__(
        self,
        generator: Generator,
        requests: Sequence[Request],
        num_rows: int,
        settings: EnvSettings,
    ):
        self.generator = generator
        self.num_rows = num_rows
        self.settings = settings
        if num_rows < 1:
            raise ConfigError(f"num_envs is {num_rows}; expected 1 or more")
        if not shows_pictures(generator) and (settings.keep_images or settings.render_mode):
            raise ConfigError(
                "keep_images and render_mode are for images; the outputs are of kind "
                f"{generator.output_kind!r}"
            )
        self.actions = action_encoding(
            generator.decision_space, settings.action_mode, settings.menu
        )
        self.observation = observation_of(generator, settings.obs_mode)
        self.falling = falling_figures(generator, settings.scorers)
        self.references = settings.reference_cache or ReferenceCache()
        self.prefixes: PrefixCache | None = None
        if not settings.fresh_seeds:  # whose requests never come back
            self.prefixes = settings.prefix_cache or PrefixCache()
        self.stage_reward: StageReward | None = None
        if settings.reward in FORMULAS:
            self.stage_reward = StageReward(
                settings.reward, generator, self.references, settings.scorers
            )
        self.prices = Prices.of(settings, generator)
        self.order = RequestOrder(
            requests,
            settings.preference_range,
            fresh_seeds=settings.fresh_seeds,
            shuffle=settings.shuffle,
            repeats=settings.repeats,
        )
        self.state: Any = None
        self.episodes: list[Episode] = []

    def seed(self, seed: int | None) -> None:
        """Begin the order of this seed; without one go on, or begin at a random one."""
        if seed is not None:
            self.order.restart(seed)
        elif self.order.seed is None:
            self.order.restart(int(np.random.default_rng().integers(2**32)))

    def start(
        self, rows: Sequence[int], options: Sequence[Mapping[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """Give these rows new requests, from the order or as their `options` say.

        Returns:
            One info for each of `rows`.
        """
        fresh = self.new_episodes(
            [self.order.draw(option) for option in options or [{}] * len(rows)]
        )
        state = self.run_prefix(fresh)
        going = [row for row in range(self.num_rows) if row not in rows]
        if going:
            self._check_started()
            order = [*going, *rows]
            state = self.generator.join([self.generator.fork(self.state, going), state])
            if order != sorted(order):
                state = self.generator.fork(state, np.argsort(order).tolist())
        episodes = {row: self.episodes[row] for row in going} | dict(zip(rows, fresh, strict=True))
        self.episodes = [episodes[row] for row in range(self.num_rows)]
        self.state = state
        return [episode.start_info() for episode in fresh]

    def step(self, actions: Any) -> Step:
        """Take one stage in each row. When it raises, nothing has changed.

        Args:
            actions: [B, ...] one action of the action space a row.

        Raises:
            ResetNeeded: before the first `start`, or while a row is done.
            ConfigError: actions of the wrong shape, or not finite.
            GenerationError: a forbidden decision under `strict_actions`, or values that are not
                finite.
        """
        self._check_started()
        if self.state.done.any():
            raise ResetNeeded("the episode is over: call reset() before the next step()")
        episodes, stages = self.episodes, self.state.stage
        labels = [episode.request.label for episode in episodes]
        decisions, replaced = self._decide(self.actions.decode(actions, labels, stages))
        costs = [float(cost) for cost in self.generator.cost(self.state, decisions)]
        state = self.generator.advance(self.state, decisions)
        ended = np.flatnonzero(state.done).tolist()
        outputs = self.generator.finish(state) if len(ended) else []
        figures = self._fidelity(outputs, [episodes[row] for row in ended])

        taken = zip(episodes, decisions, costs, strict=True)
        saved = np.array([episode.saving(decision, cost) for episode, decision, cost in taken])
        told: list[dict[str, Any]] = [{}] * self.num_rows
        if self.stage_reward is None:
            qualities = np.zeros(self.num_rows)
            if ended:
                qualities[ended] = quality(figures, self.settings.fidelity, self.falling)
            preference = np.array([episode.preference for episode in episodes])
            rewards = REWARDS[self.settings.reward](preference, saved, qualities)
        else:
            rewards, told = self.stage_reward(state, episodes, decisions, stages)
        check_finite("reward", rewards, labels, stages)

        infos: list[dict[str, Any]] = []
        for row, episode in enumerate(episodes):
            episode.record(decisions[row], costs[row])
            episode.total_reward += float(rewards[row])
            infos.append(
                {
                    "stage": int(stages[row]),
                    "stage_cost_flops": costs[row],
                    "stage_saved": float(saved[row]),
                    "decision": dict(decisions[row]),
                    "action_replaced": replaced[row],
                }
            )
        for place, row in enumerate(ended):
            values = {name: float(column[place]) for name, column in figures.items()}
            milliseconds = told_latency(self.settings, self.generator, episodes[row])
            summary = {**episodes[row].summary(), **values, **milliseconds}
            infos[row].update(summary, episode_summary=dict(summary))
            if self.settings.keep_images:
                shown = pictures_of(self.generator, [outputs[place]])
                infos[row]["image"] = np.array(shown[0])
        for info, own in zip(infos, told, strict=True):
            info.update(own)  # the predecessor's names win; `episode_summary` has ours
        self.state = state
        return Step(rewards, state.done.copy(), infos)

    def observe(self, rows: Sequence[int] | None = None) -> np.ndarray:
        """[B, O] float32 observations of these rows (default all), new memory at each call."""
        self._check_started()
        if rows is None or len(rows) == self.num_rows:
            return self.observation.build(self.state, self.episodes)
        state = self.generator.fork(self.state, rows)
        return self.observation.build(state, [self.episodes[row] for row in rows])

    def action_masks(self) -> np.ndarray:
        """[B, n] bool: which decisions of the menu each row may take now.

        Raises:
            ConfigError: the action space is a box, which has no menu.
        """
        self._check_started()
        if self.settings.action_mode != "discrete":
            mode = self.settings.action_mode
            raise ConfigError(f"action_masks() needs action_mode='discrete'; this one is {mode!r}")
        return np.array(self.generator.allowed(self.state, self.actions.menu))

    def preview(self, rows: Sequence[int] | None = None) -> Any:
        """The outputs of these rows (default all) as if the generator stopped here, as pictures.

        What cannot be shown is given as it is.
        """
        self._check_started()
        outputs = self.generator.preview(self.state, rows)
        seen = shows_pictures(self.generator)
        return pictures_of(self.generator, outputs) if seen else outputs

    def new_episodes(self, drawn: Sequence[tuple[Any, float]]) -> list[Episode]:
        """Open the books of these (request, preference weight), references included."""
        first = self.settings.first_controlled_stage
        episodes = []
        references = self.references.get(self.generator, [request for request, _ in drawn])
        for (request, preference), reference in zip(drawn, references, strict=True):
            stages = self.generator.stages(request)
            if len(stages) <= first:
                raise ConfigError(
                    f"request {request.label!r} has {len(stages)} stages, so none is left to "
                    f"decide with first_controlled_stage={first}"
                )
            fixed = float(self.generator.fixed_cost(request))
            episodes.append(Episode(request, preference, reference, stages, fixed, self.prices))
        if self.stage_reward is not None:
            self.stage_reward.prepare(episodes)
        return episodes

    def run_prefix(self, episodes: Sequence[Episode]) -> Any:
        """Take new episodes to their first decision; return the state."""
        first = self.settings.first_controlled_stage
        requests = [episode.request for episode in episodes]
        if self.prefixes is None:
            state = run_full(self.generator, requests, first)
        else:
            state = self.prefixes.get(self.generator, requests, first)
        for episode in episodes:
            prefix = full_decisions(self.generator, first)
            for stage, decision in zip(episode.stages, prefix, strict=False):
                episode.record(decision, stage.cost_flops)
        self.observation.start(state, episodes)
        return state

    def run(
        self, episodes: Sequence[Episode], decisions: Sequence[Sequence[Any]], state: Any = None
    ) -> Any:
        """Take these decisions, from `state` or from the start on, and enter them in the books."""
        requests = [episode.request for episode in episodes]
        state, costs = replay(self.generator, requests, decisions, state)
        for episode, taken, paid in zip(episodes, decisions, costs, strict=True):
            for decision, cost in zip(taken, paid, strict=True):
                episode.record(decision, cost)
        return state

    def _decide(self, wanted: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[bool]]:
        """What each row does instead of what it wanted, and whether that is something else."""
        if self.stage_reward is not None:
            full = self.generator.decision_space.complete({})
            wanted = [
                full if self.stage_reward.forced(episode, int(stage)) else decision
                for episode, stage, decision in zip(
                    self.episodes, self.state.stage, wanted, strict=True
                )
            ]
        return permitted(
            self.generator,
            self.state,
            wanted,
            self.actions.menu,
            strict=self.settings.strict_actions,
        )

    def _fidelity(self, outputs: Any, episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
        if not episodes:
            return {}
        references = [episode.reference for episode in episodes]
        labels = [episode.request.label for episode in episodes]
        try:
            return final_fidelity(
                self.generator, outputs, references, self.settings.scorers, labels
            )
        except DataError as error:
            raise GenerationError(f"final outputs of requests {labels}: {error}") from error

    def _check_started(self) -> None:
        if self.state is None:
            raise ResetNeeded("call reset() first")
