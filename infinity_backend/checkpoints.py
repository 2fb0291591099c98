"""Weights into modules, strictly: all that is missing, unexpected or misshapen is named at once."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from base.weights import load_strict

DROPPED_KEYS = {
    "lvl_1L",
    "attn_bias_for_masking",
    "Infinity_visible_kvlen",
    "Infinity_invisible_qlen",
}
ALIASES = {"quantize.lfq.mask": "quantizer.lfq.mask"}


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Put a state dict into a module, in the module's own number types.

    The tensors become the module's own where types agree, so a module that was made on the meta
    device needs no memory besides theirs.

    Exceptions to strictness are those of the original: training-only buffers are dropped, one VAE
    buffer may be stored under one of its two names, and `cfg_uncond` with another number of rows
    is cut, or extended with rows as a new model has them.

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
    given = {
        name: tensor.to(wanted[name].dtype) if name in wanted else tensor
        for name, tensor in given.items()
    }
    load_strict(module, given, what, assign=True)


def _fit_rows(given: Tensor, wanted: Tensor) -> Tensor:
    if given.shape[1:] != wanted.shape[1:]:
        return given
    rows = min(len(given), len(wanted))
    generator = torch.Generator().manual_seed(0)
    new = torch.randn(len(wanted) - rows, wanted.shape[1], generator=generator)
    return torch.cat([given[:rows].to(wanted.dtype), (new / wanted.shape[1] ** 0.5).to(given)])
