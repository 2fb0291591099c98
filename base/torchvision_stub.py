"""Import torchvision beside a torch that it was not compiled for.

The wheel on the package index is built for CUDA. Beside a CPU-only torch its compiled operators
are not loaded, and its Python part fails because it describes two of them. Nothing here uses
compiled operators, so declaring the two is enough. lpips and open_clip import torchvision: call
`import_torchvision()` before importing them.
"""

import importlib
import sys
from types import ModuleType

import torch

_SCHEMAS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_torchvision() -> ModuleType:
    """Import torchvision; where its compiled part does not load, without that part.

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # left half-imported by the failure
    for operator, schema in _SCHEMAS.items():
        torch.library.define(operator, schema)
    return importlib.import_module("torchvision")
