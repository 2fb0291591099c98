"""The position of a batch as JSON values, in the middle of episodes, and back.

Nothing of the generator is saved: the episodes under way are listed with their decisions, and
loading takes those decisions again.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from base.errors import ConfigError
from envs.core import PruningCore


def save_position(core: PruningCore) -> dict[str, Any]:
    """Return the place in the requests and the episodes under way.

    Raises:
        ConfigError: an episode's request is not from the list (it came through `options`).
    """
    # a fresh seed is not in the list, so requests are found without regard to their seeds
    listed = {request.with_seed(0).key: n for n, request in enumerate(core.order.requests)}
    episodes = []
    for episode in core.episodes:
        index = listed.get(episode.request.with_seed(0).key)
        if index is None:
            raise ConfigError(
                f"request {episode.request.label!r} came through reset options and is not in the "
                "list of requests: its episode cannot be saved"
            )
        episodes.append(
            {
                "index": index,
                "seed": int(episode.request.seed),
                "preference": episode.preference,
                "total_reward": episode.total_reward,
                "decisions": [dict(decision) for decision in episode.decisions],
            }
        )
    return {
        "fingerprint": core.generator.fingerprint,
        "requests": _requests_digest(core),
        "seed": core.order.seed,
        "draws": core.order.draws,
        "episodes": episodes,
    }


def load_position(core: PruningCore, saved: Mapping[str, Any]) -> np.ndarray:
    """Go back to a saved position: the episodes under way are generated again.

    Returns:
        [B, O] the observations of all rows, as they were.

    Raises:
        ConfigError: saved for another generator, other requests or another number of rows.
    """
    for what, there, here in (
        ("generator (fingerprint)", saved["fingerprint"], core.generator.fingerprint),
        ("list of requests", saved["requests"], _requests_digest(core)),
        ("number of environments", len(saved["episodes"]), core.num_rows),
    ):
        if there != here:
            raise ConfigError(f"saved for another {what}: there {there}, here {here}")
    rows, requests = saved["episodes"], core.order.requests
    episodes = core.new_episodes(
        [(requests[row["index"]].with_seed(row["seed"]), row["preference"]) for row in rows]
    )
    complete = core.generator.decision_space.complete
    first = core.settings.first_controlled_stage
    decisions = [[complete(each) for each in row["decisions"][first:]] for row in rows]
    state = core.run(episodes, decisions, core.run_prefix(episodes))
    for episode, row in zip(episodes, rows, strict=True):
        episode.total_reward = row["total_reward"]
    core.order.restart(saved["seed"], saved["draws"])
    core.episodes, core.state = episodes, state
    return core.observe()


def _requests_digest(core: PruningCore) -> str:
    keys = [request.key for request in core.order.requests]
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    return f"{len(keys)} requests, sha256 {digest[:16]}"
