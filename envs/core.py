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
from envs.actions import ActionEncoding, BoxActions, DiscreteActions, nearest_allowed
from envs.episode import Episode
from envs.generator import Generator, Request
from envs.observation import VectorObservation
from envs.order import RequestOrder
from envs.references import ReferenceCache
from envs.replay import full_decisions, replay
from envs.reward import REWARDS, check_finite
from envs.settings import EnvSettings, check_preference
from eval.fidelity import PRIMARY, fidelity


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
        if num_rows < 1:
            raise ConfigError(f"num_envs is {num_rows}; expected 1 or more")
        self.generator = generator
        self.requests = tuple(requests)
        self.num_rows = num_rows
        self.settings = settings
        self.actions = _encoding(generator, settings)
        self.observation = VectorObservation(generator)
        self.references = settings.reference_cache or ReferenceCache()
        self.order = RequestOrder(
            self.requests,
            settings.preference,
            fresh_seeds=settings.fresh_seeds,
            shuffle=settings.shuffle,
        )
        self._by_key = {request.key: index for index, request in enumerate(self.requests)}
        if len(self._by_key) != len(self.requests) or not self.requests:
            raise ConfigError(
                f"{len(self.requests)} requests with {len(self._by_key)} different keys; "
                "expected one or more, each with its own key"
            )
        self._state: Any = None
        self._episodes: list[Episode] = []

    def seed(self, seed: int) -> None:
        """Begin the order of requests of this seed."""
        self.order.restart(seed)

    def start(
        self, rows: Sequence[int], options: Sequence[Mapping[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """Give these rows new requests, from the order or as their `options` say.

        Returns:
            One info for each of `rows`.
        """
        options = options or [{}] * len(rows)
        episodes = self._new_episodes([self._draw(option) for option in options])
        first = self.settings.first_controlled_stage
        fresh = self._run(episodes, [full_decisions(self.generator, first)] * len(rows))
        if len(rows) == self.num_rows:
            together, order = [fresh], list(rows)
            self._episodes = [episodes[0]] * self.num_rows
        else:
            self._started()
            going = [row for row in range(self.num_rows) if row not in rows]
            together = [self.generator.fork(self._state, going), fresh]
            order = going + list(rows)
        self._state = _in_order(self.generator, together, order)
        for row, episode in zip(rows, episodes, strict=True):
            self._episodes[row] = episode
        return [episode.start_info() for episode in episodes]

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
        self._started()
        if self._state.done.any():
            raise ResetNeeded("the episode is over: call reset() before the next step()")
        episodes, stages = self._episodes, self._state.stage
        labels = [episode.request.label for episode in episodes]
        wanted = self.actions.decode(actions, labels, stages)
        decisions, replaced = self._permitted(wanted)
        costs = check_finite(
            "cost", self.generator.cost(self._state, decisions), labels, stages
        ).tolist()
        state = self.generator.advance(self._state, decisions)
        ended = np.flatnonzero(state.done)
        outputs = self.generator.finish(state) if len(ended) else []
        figures = self._fidelity(outputs, [episodes[row] for row in ended])

        full = [e.stages[stage].cost_flops for e, stage in zip(episodes, stages, strict=True)]
        saved = (np.array(full) - costs) / [episode.full_cost_flops for episode in episodes]
        quality = np.zeros(self.num_rows)
        quality[ended] = figures[PRIMARY[self.generator.output_kind]]
        preference = np.array([episode.preference for episode in episodes])
        rewards = REWARDS[self.settings.reward](preference, saved, quality)
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
            summary = episodes[row].summary(values, self.settings.latency_table)
            infos[row].update(summary, episode_summary=dict(summary))
            if self.settings.keep_images:
                infos[row]["image"] = np.array(outputs[place])
        self._state = state
        return Step(rewards, state.done.copy(), infos)

    def observe(self) -> np.ndarray:
        """[B, O] float32 observations of all rows, new memory at each call."""
        self._started()
        return self.observation.build(self._state, self._episodes)

    def action_masks(self) -> np.ndarray:
        """[B, n] bool: which decisions of the menu each row may take now.

        Raises:
            ConfigError: the action space is a box, which has no menu.
        """
        self._started()
        if self.settings.action_mode != "discrete":
            raise ConfigError("action_masks() needs action_mode='discrete'; this one is 'box'")
        return np.array(self.generator.allowed(self._state, self.actions.menu))

    def preview(self, rows: Sequence[int] | None = None) -> Any:
        """The outputs of these rows (default all) as if the generator stopped here."""
        self._started()
        return self.generator.preview(self._state, rows)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """The episodes of the rows, for reading."""
        return tuple(self._episodes)

    def state_dict(self) -> dict[str, Any]:
        """The position in the requests and the episodes under way, as JSON values.

        Raises:
            ConfigError: an episode's request is not from the list (it came through `options`).
        """
        self._started()
        for episode in self._episodes:
            if episode.index is None:
                raise ConfigError(
                    f"request {episode.request.label!r} came through reset options and is not in "
                    "the list of requests: such an episode cannot be saved"
                )
        return {
            "fingerprint": self.generator.fingerprint,
            "requests": len(self.requests),
            "order": {"seed": self.order.seed, "draws": self.order.draws},
            "episodes": [
                {
                    "index": episode.index,
                    "seed": int(episode.request.seed),
                    "preference": episode.preference,
                    "total_reward": episode.total_reward,
                    "decisions": episode.decisions,
                }
                for episode in self._episodes
            ],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> np.ndarray:
        """Go back to a saved position: the episodes under way are generated again.

        Returns:
            [B, O] the observations of all rows, as they were.

        Raises:
            ConfigError: saved for another generator, other requests or another number of rows.
        """
        here = (self.generator.fingerprint, len(self.requests), self.num_rows)
        there = (saved["fingerprint"], saved["requests"], len(saved["episodes"]))
        if here != there:
            raise ConfigError(
                "saved for another environment: (fingerprint, requests, environments) was "
                f"{there}, here it is {here}"
            )
        rows = saved["episodes"]
        episodes = self._new_episodes(
            [
                (_seeded(self.requests[row["index"]], row["seed"]), row["index"], row["preference"])
                for row in rows
            ]
        )
        complete = self.generator.decision_space.complete
        decisions = [[complete(decision) for decision in row["decisions"]] for row in rows]
        self._state = self._run(episodes, decisions)
        self._episodes = episodes
        for episode, row in zip(episodes, rows, strict=True):
            episode.total_reward = row["total_reward"]
        self.order.restart(saved["order"]["seed"], saved["order"]["draws"])
        return self.observe()

    def _draw(self, option: Mapping[str, Any]) -> tuple[Any, int | None, float]:
        """The request of one new episode, its number in the list, and its weight."""
        unknown = set(option) - {"request", "preference"}
        if unknown:
            raise ConfigError(
                f"unknown reset option {sorted(unknown)}; expected 'request' and 'preference'"
            )
        draw = self.order.draw()
        index: int | None = draw.index
        request: Any = _seeded(self.requests[draw.index], draw.seed)
        if "request" in option:
            request = option["request"]
            if isinstance(request, (int, np.integer)):
                if not 0 <= request < len(self.requests):
                    raise ConfigError(
                        f"request is {request}; expected 0 to {len(self.requests) - 1}"
                    )
                request = self.requests[request]
            elif not isinstance(request, Request):
                raise ConfigError(
                    f"request is {request!r}; expected a request, or its number in the list"
                )
            index = self._by_key.get(request.key)
        weight = option.get("preference")
        return request, index, draw.preference if weight is None else check_preference(weight)

    def _new_episodes(self, drawn: Sequence[tuple[Any, int | None, float]]) -> list[Episode]:
        first = self.settings.first_controlled_stage
        episodes = []
        references = self.references.get(self.generator, [request for request, _, _ in drawn])
        for (request, index, preference), reference in zip(drawn, references, strict=True):
            stages = self.generator.stages(request)
            if len(stages) <= first:
                raise ConfigError(
                    f"request {request.label!r} has {len(stages)} stages, so none is left to "
                    f"decide with first_controlled_stage={first}"
                )
            fixed = float(self.generator.fixed_cost(request))
            episodes.append(Episode(request, index, preference, reference, stages, fixed))
        return episodes

    def _run(self, episodes: Sequence[Episode], decisions: Sequence[Sequence[Any]]) -> Any:
        """Generate these decisions from the start and enter them in the books."""
        requests = [episode.request for episode in episodes]
        state, costs = replay(self.generator, requests, decisions)
        for episode, taken, paid in zip(episodes, decisions, costs, strict=True):
            for decision, cost in zip(taken, paid, strict=True):
                episode.record(decision, cost)
        return state

    def _permitted(self, wanted: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[bool]]:
        """What each row does instead of what it may not, and which rows that concerns."""
        listed = [d for k, d in enumerate(wanted) if d not in wanted[:k]]
        allowed = self.generator.allowed(self._state, listed)
        decisions, replaced = [], []
        for row, decision in enumerate(wanted):
            free = bool(allowed[row, listed.index(decision)])
            replaced.append(not free)
            decisions.append(decision if free else self._replacement(row, decision))
        return decisions, replaced

    def _replacement(self, row: int, wanted: dict[str, Any]) -> dict[str, Any]:
        where = f"stage {self._state.stage[row]} of request {self._episodes[row].request.label!r}"
        if self.settings.strict_actions:
            raise GenerationError(
                f"{wanted} is forbidden at {where}; ask action_masks(), or let it be replaced "
                "(strict_actions=False)"
            )
        nearest = nearest_allowed(self.generator, self._state, row, wanted, self.actions.menu)
        if nearest is None:
            raise GenerationError(f"{wanted} and everything near it is forbidden at {where}")
        return nearest

    def _fidelity(self, outputs: Any, episodes: Sequence[Episode]) -> dict[str, np.ndarray]:
        if not episodes:
            return {PRIMARY[self.generator.output_kind]: np.zeros(0)}
        references = [episode.reference for episode in episodes]
        try:
            return fidelity(self.generator.output_kind, outputs, references)
        except DataError as error:
            labels = [episode.request.label for episode in episodes]
            raise GenerationError(f"final outputs of requests {labels}: {error}") from error

    def _started(self) -> None:
        if self._state is None:
            raise ResetNeeded("call reset() first")


def _encoding(generator: Generator, settings: EnvSettings) -> ActionEncoding:
    if settings.keep_images and generator.output_kind != "image":
        raise ConfigError(f"keep_images=True, but the outputs are {generator.output_kind}")
    if settings.action_mode == "discrete":
        return DiscreteActions(generator.decision_space, settings.menu)
    if settings.action_mode != "box":
        raise ConfigError(f"action_mode is {settings.action_mode!r}; expected 'discrete' or 'box'")
    if settings.menu is not None:
        raise ConfigError("a menu goes with action_mode='discrete'; this one is 'box'")
    return BoxActions(generator.decision_space)


def _seeded(request: Any, seed: int) -> Any:
    return request if request.seed == seed else request.with_seed(seed)


def _in_order(generator: Generator, states: Sequence[Any], order: Sequence[int]) -> Any:
    """States side by side, `order` being the row at which each of their rows belongs."""
    state = states[0] if len(states) == 1 else generator.join(states)
    if list(order) == sorted(order):
        return state
    return generator.fork(state, np.argsort(order).tolist())
