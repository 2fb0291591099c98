"""The batch as a Stable-Baselines3 `VecEnv`: one process, one model, no copies of weights."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from base.errors import ConfigError
from envs.checkpoint import load_position, save_position
from envs.core import PruningCore
from envs.generator import Generator, Request
from envs.settings import EnvSettings


class PruningVecEnv(VecEnv):
    """`num_envs` pruning environments for SB3 algorithms.

    Rows that end are replaced in the same step; `infos[i]["terminal_observation"]` has the last
    observation, `infos[i]["episode"]` return and length as SB3's `Monitor` writes them (so no
    `VecMonitor` is needed), and `reset_infos[i]` tells of the new episode.

    Args:
        generator: makes the outputs.
        requests: what episodes are drawn from.
        num_envs: B.
        **settings: as in `PruningEnv`.
    """

    def __init__(
        self,
        generator: Generator,
        requests: Sequence[Request],
        num_envs: int,
        **settings: Any,
    ):
        self.core = PruningCore(generator, requests, num_envs, EnvSettings(**settings))
        self.render_mode = self.core.settings.render_mode
        self._actions: Any = None
        self._began = time.perf_counter()
        super().__init__(num_envs, self.core.observation.space, self.core.actions.space)

    def reset(self) -> np.ndarray:
        """Start new episodes in all rows; [B, O] observations."""
        self.core.seed(self._seeds[0])
        self.reset_infos = self.core.start(range(self.num_envs), self._options)
        self._reset_seeds()
        self._reset_options()
        return self.core.observe()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions [B, ...] for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all rows and start new episodes in those that ended."""
        rewards, dones, infos = self.core.step(self._actions)
        observations = self.core.observe()
        ended = np.flatnonzero(dones).tolist()
        for row in range(self.num_envs):
            infos[row]["TimeLimit.truncated"] = False
        for row in ended:
            infos[row]["terminal_observation"] = observations[row]
            episode = self.core.episodes[row]
            infos[row]["episode"] = {
                "r": episode.total_reward,
                "l": len(episode.decisions) - self.core.settings.first_controlled_stage,
                "t": round(time.perf_counter() - self._began, 6),
            }
        if ended:
            for row, info in zip(ended, self.core.start(ended), strict=True):
                self.reset_infos[row] = info
            observations = observations.copy()  # infos hold rows of the last ones
            observations[ended] = self.core.observe(ended)
        return observations, rewards.astype(np.float32), dones, infos

    def action_masks(self) -> np.ndarray:
        """[B, n] bool: which decisions of the menu each row may take now."""
        return self.core.action_masks()

    def state_dict(self) -> dict[str, Any]:
        """Position in the requests and episodes under way, as JSON values."""
        return save_position(self.core)

    def load_state_dict(self, saved: Mapping[str, Any]) -> np.ndarray:
        """Go back to a saved position; [B, O] the observations at that point."""
        return load_position(self.core, saved)

    def episode_starts(self) -> np.ndarray:
        """[B] bool: whether no decision of the row's episode has been taken yet."""
        first = self.core.settings.first_controlled_stage
        return np.array([len(episode.decisions) == first for episode in self.core.episodes])

    def get_images(self) -> list[np.ndarray]:
        """The preview of each row, uint8 RGB [height, width, 3]."""
        return list(self.core.preview())

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The value for each row: of the batch, except for methods that answer row by row."""
        rows = list(self._get_indices(indices))
        if attr_name == "action_masks" and self.core.settings.action_mode != "discrete":
            raise AttributeError("action_masks needs action_mode='discrete'")
        if attr_name in ("action_masks", "render"):
            return [partial(self.env_method, attr_name, indices=row) for row in rows]
        return [getattr(self, attr_name) for _ in rows]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch."""
        if indices is not None:
            raise ConfigError(
                f"set_attr({attr_name!r}) for single environments: they share one batch; "
                "leave `indices` out"
            )
        setattr(self, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call `action_masks` or `render` of single rows."""
        rows = list(self._get_indices(indices))
        if method_name == "action_masks":
            masks = self.core.action_masks()
            return [masks[row] for row in rows]
        if method_name == "render":
            return list(self.core.preview(rows))
        raise AttributeError(
            f"env_method({method_name!r}): rows of the batch have 'action_masks' and 'render'"
        )

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Only `Monitor` is there, in that episodes are recorded as it would record them."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def close(self) -> None:
        """Nothing is held that needs closing."""
