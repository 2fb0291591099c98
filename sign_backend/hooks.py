"""Where embeddings are taken from: a forward hook on the part of the model that a kind names."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from base.errors import ConfigError
from sign_backend.kinds import SCORES, check_kind

Hook = Callable[[nn.Module, Any, Any], None]


class InferenceHooks:
    """The documented way to look into a model; mixed into each of them."""

    _handles: dict[str, RemovableHandle]

    def hook_site(self, kind: str) -> nn.Module:
        """The part whose output holds embeddings of `kind` (spatial, temporal or CLS)."""
        raise NotImplementedError

    def setup_inference_hook(self, kind: str, hook: Hook) -> None:
        """Call `hook(module, inputs, output)` at each pass; nothing to do for scores.

        Raises:
            ConfigError: a kind that does not exist, or one that has a hook already.
        """
        check_kind(kind)
        if kind in SCORES:
            return
        if kind in self._handles:
            raise ConfigError(f"kind {kind!r} has a hook already; reset_inference_hook removes it")
        self._handles[kind] = self.hook_site(kind).register_forward_hook(hook)

    def reset_inference_hook(self, kind: str) -> None:
        """Remove the hook of a kind.

        Raises:
            ConfigError: it has none.
        """
        if kind not in self._handles:
            raise ConfigError(f"kind {kind!r} has no hook; there are {sorted(self._handles)}")
        self._handles.pop(kind).remove()
