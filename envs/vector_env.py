"""`PruningVectorEnv`: the batch as a Gymnasium `VectorEnv`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from base.errors import ConfigError
from envs.checkpoint import load_position, save_position
from envs.core import PruningCore
from envs.generator import Generator, Request
from envs.settings import EnvSettings


class PruningVectorEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """`num_envs` pruning environments in one batch; see `PruningEnv` for what each of them does.

    Rows that end are replaced in the same step (`AutoresetMode.SAME_STEP`): `infos["final_obs"]`
    and `infos["final_info"]` have what the ended episodes said last.

    Args:
        generator: makes the outputs.
        requests: what episodes are drawn from.
        num_envs: B.
        **settings: as in `PruningEnv`.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        generator: Generator,
        requests: Sequence[Request],
        num_envs: int = 1,
        **settings: Any,
    ):
        self.core = PruningCore(generator, requests, num_envs, EnvSettings(**settings))
        self.num_envs = num_envs
        self.render_mode = self.core.settings.render_mode
        self.single_observation_space = self.core.observation.space
        self.single_action_space = self.core.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @property
    def observation_names(self) -> tuple[str, ...]:
        """What each column of an observation is."""
        return self.core.observation.names

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes in all rows.

        Args:
            seed: begins a new order of requests; the rows take from one order.
            options: as in `PruningEnv`; a value is for all rows, or a list with one for each.
        """
        super().reset(seed=seed)
        self.core.seed(seed)
        infos = self.core.start(range(self.num_envs), self._per_row(options or {}))
        return self.core.observe(), self._together(enumerate(infos))

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one stage in each row, and start new episodes in those that ended."""
        rewards, terminated, infos = self.core.step(actions)
        observations = self.core.observe()
        ended = np.flatnonzero(terminated).tolist()
        if ended:
            finals = [{"final_obs": observations[row], "final_info": infos[row]} for row in ended]
            fresh = self.core.start(ended)
            for row, final, info in zip(ended, finals, fresh, strict=True):
                infos[row] = {**final, **info}
            observations = observations.copy()  # infos hold rows of the last ones
            observations[ended] = self.core.observe(ended)
        truncated = np.zeros(self.num_envs, bool)
        return observations, rewards, terminated, truncated, self._together(enumerate(infos))

    def action_masks(self) -> np.ndarray:
        """[B, n] bool: which decisions of the menu each row may take now."""
        return self.core.action_masks()

    def render(self) -> tuple[np.ndarray, ...] | None:  # type: ignore[override]
        """Each row as if the generator stopped here, uint8 RGB [height, width, 3]."""
        return None if self.render_mode is None else tuple(self.core.preview())

    def state_dict(self) -> dict[str, Any]:
        """Position in the requests and episodes under way, as JSON values."""
        return save_position(self.core)

    def load_state_dict(self, saved: Mapping[str, Any]) -> np.ndarray:
        """Go back to a saved position; [B, O] the observations at that point."""
        return load_position(self.core, saved)

    def _per_row(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for name, value in options.items():
            values = value if isinstance(value, (list, tuple)) else [value] * self.num_envs
            if len(values) != self.num_envs:
                raise ConfigError(
                    f"option {name!r} has {len(values)} values for {self.num_envs} environments"
                )
            for row, single in zip(rows, values, strict=True):
                row[name] = single
        return rows

    def _together(self, infos: Any) -> dict[str, Any]:
        """Infos of rows in Gymnasium's form: an array for each key, and a mask `_key`."""
        together: dict[str, Any] = {}
        for row, info in infos:
            together = self._add_info(together, info, row)
        return together
