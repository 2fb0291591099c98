"""Weights into modules, strictly: all that is missing, unexpected or misshapen is named at once."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from base.errors import CheckpointError

DROPPED_KEYS = {
    "lvl_1L",
    "attn_bias_for_masking",
    "Infinity_visible_kvlen",
    "Infinity_invisible_qlen",
}
ALIASES = {"quantize.lfq.mask": "quantizer.lfq.mask"}


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load a state dict into a module, in the module's own number types.

    Exceptions to strictness are those of the original: training-only buffers are dropped, one VAE
    buffer may be stored under one of its two names, and `cfg_uncond` with another number of rows
    is cut, or extended with the module's own rows.

    Args:
        module: where to load.
        tensors: names to weights, as read from a file.
        what: what an error message calls the file.

    Raises:
        CheckpointError: names and shapes of everything that does not fit.
    """
    wanted = module.state_dict()
    given = {name: tensor for name, tensor in tensors.items() if name not in DROPPED_KEYS}
    for alias, name in ALIASES.items():
        for one, other in ((alias, name), (name, alias)):
            if one in wanted and one not in given and other in given:
                given[one] = given[other]
    if "cfg_uncond" in given and "cfg_uncond" in wanted:
        given["cfg_uncond"] = _fit_rows(given["cfg_uncond"], wanted["cfg_uncond"])
    missing = sorted(set(wanted) - set(given))
    unexpected = sorted(set(given) - set(wanted))
    shapes = [
        f"{name}: file {list(given[name].shape)}, model {list(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(given))
        if given[name].shape != wanted[name].shape
    ]
    problems = [
        f"{len(entries)} {kind} (first: {'; '.join(entries[:5])})"
        for kind, entries in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("misshapen", shapes),
        )
        if entries
    ]
    if problems:
        raise CheckpointError(
            f"the weights do not fit {what}: {', '.join(problems)}. "
            "Check that config.json and the weights file belong together"
        )
    module.load_state_dict({name: given[name].to(wanted[name].dtype) for name in wanted})


def _fit_rows(given: Tensor, wanted: Tensor) -> Tensor:
    if given.shape[1:] != wanted.shape[1:]:
        return given
    rows = min(len(given), len(wanted))
    return torch.cat([given[:rows].to(wanted.dtype), wanted[rows:]])
