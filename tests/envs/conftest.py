"""The toy as a registered environment."""

from collections.abc import Iterator

import gymnasium
import pytest


@pytest.fixture
def toy_id() -> Iterator[str]:
    """An id under which the environments are registered while the test runs."""
    name = "prunegym-test/Toy-v0"
    gymnasium.register(
        name,
        entry_point="envs.pruning_env:PruningEnv",
        vector_entry_point="envs.vector_env:PruningVectorEnv",
    )
    yield name
    del gymnasium.registry[name]
