"""A device that computes nothing: which ops would wait for it, move data to it, or fill its memory.

Tensors have shapes, number types and a device, but no numbers (PyTorch's fake tensors on the device
`meta`, which stands for a GPU: a PyTorch without CUDA has no fake CUDA that can be indexed). So a
large model takes seconds, and an op that mixes devices is an error. What PyTorch asks for is
counted, with attention as fused kernels do it; not what a kernel takes for itself while it runs
(workspaces of convolutions and matrix products), nor the allocator's rounding.
"""

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from infinity_backend.config import PipelineConfig
from infinity_backend.generate import Stepper
from infinity_backend.rope import rope_on
from infinity_backend.text import TextCondition
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

aten = torch.ops.aten
DEVICE = torch.device("meta")
BY_NUMBERS = {aten.nonzero.default, aten.masked_select.default, aten.equal.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}


def _there(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.device.type == DEVICE.type


class Watch(TorchDispatchMode):
    """Counts while it is entered; where a number of the device is asked for, it is 1.

    Attributes:
        counts: `wait` (the host reads numbers of the device: all work must be done first), `send`
            (a blocking copy to the device), `send_later` (one that does not block), `index` (shapes
            that depend on numbers: another wait), `masked` (attention under a mask, which the flash
            kernel does not know).
        live_bytes: storage alive on the device.
        peak_bytes: the most of it since the start, or since `peak_bytes` was set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.live_bytes = self.peak_bytes = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            self.counts["wait"] += _there(args[0])
            return True if args[0].dtype == torch.bool else 1.0
        leaves = tree_leaves((args, kwargs))
        if func in BY_NUMBERS:
            self.counts["index"] += any(_there(leaf) for leaf in leaves)
        if func in INDEXED and _there(args[0]):
            indices = [index for index in args[1] if index is not None]
            self.counts["index"] += any(index.dtype == torch.bool for index in indices)
            self.counts["send"] += sum(not _there(index) for index in indices)
        result = func(*args, **kwargs)
        if func is aten.lift_fresh.default:  # a tensor of Python numbers: they lay on the host
            self.counts["send"] += _there(result)
        if func is aten._to_copy.default:
            self._count_copy(args[0], result, kwargs.get("non_blocking", False))
        if func is aten.copy_.default:
            self._count_copy(args[1], args[0], len(args) > 2 and args[2])
        for tensor in tree_leaves(result):
            if _there(tensor):
                self._watch(tensor)
        return result

    def _count_copy(self, source: Tensor, target: Tensor, later: bool) -> None:
        if _there(source) and not _there(target):
            self.counts["wait"] += 1
        if _there(target) and not _there(source):
            self.counts["send_later" if later else "send"] += 1

    def _watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        self._known[key] = weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.live_bytes -= size
        self._known.pop(key, None)


class WatchAttention(TorchFunctionMode):
    """Attention as fused kernels do it: it takes its output and one float32 a query, no more."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and _there(args[0]):
            q, v = args[0], args[2]
            self._watch.counts["masked"] += kwargs.get("attn_mask") is not None
            sums = q.new_empty(q.shape[:-1], dtype=torch.float32)
            out = q.new_empty(*q.shape[:-1], v.shape[-1])
            del sums
            return out
        return func(*args, **kwargs)


@contextmanager
def fake_device(
    config: PipelineConfig, dtype: torch.dtype = torch.bfloat16
) -> Iterator[tuple[Watch, Stepper]]:
    """A fake device with a model on it, blocks in `dtype`; caches on it are dropped afterwards."""
    with torch.device("meta"):
        model, vae = Infinity(config.infinity), VAE(config.vae)
    for block in model.block_list():
        for part in (block.sa, block.ca, block.ffn):
            part.to(dtype)
    with FakeTensorMode(allow_non_fake_inputs=True), Watch() as watch, WatchAttention(watch):
        for module in (model, vae):
            there = {
                name: torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)
                for name, tensor in module.state_dict().items()
            }
            module.load_state_dict(there, assign=True)
            module.eval().requires_grad_(False)
        del there
        try:
            yield watch, Stepper(model, vae, config)
        finally:
            rope_on.cache_clear()


def fake_text(config: PipelineConfig, lengths: tuple[int, ...]) -> TextCondition:
    """Features of prompts on the fake device."""
    width = config.infinity.text_channels
    return TextCondition(torch.empty(len(lengths), max(lengths), width, device=DEVICE), lengths)
