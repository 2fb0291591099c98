"""Weights into a module, strictly: all that does not fit is named in one error."""

from collections.abc import Mapping

from torch import Tensor, nn

from base.errors import CheckpointError


def load_strict(
    module: nn.Module, tensors: Mapping[str, Tensor], what: str, *, assign: bool = False
) -> None:
    """Load a state dict whose names and shapes must be exactly those of the module.

    Args:
        module: where to load.
        tensors: names to weights.
        what: what an error message calls the file.
        assign: take the tensors themselves (the module may be on the meta device), in their own
            number type, instead of copying them into the module's.

    Raises:
        CheckpointError: how many entries are missing, unexpected or misshapen, and the first ones.
    """
    wanted = module.state_dict()
    shapes = [
        f"{name}: file {list(tensors[name].shape)}, model {list(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(tensors))
        if tensors[name].shape != wanted[name].shape
    ]
    problems = [
        f"{len(entries)} {kind} (first: {'; '.join(entries[:5])})"
        for kind, entries in (
            ("missing", sorted(set(wanted) - set(tensors))),
            ("unexpected", sorted(set(tensors) - set(wanted))),
            ("misshapen", shapes),
        )
        if entries
    ]
    if problems:
        raise CheckpointError(
            f"the weights do not fit {what}: {', '.join(problems)}. "
            "Check that configuration and weights belong together"
        )
    if assign:
        module.load_state_dict(dict(tensors), assign=True)
    else:
        module.load_state_dict({name: tensors[name].to(wanted[name].dtype) for name in wanted})
