"""Linear layers in bfloat16 on a CPU that has fast instructions for it; all else stays float32.

Autocast would also take attention along, whose bfloat16 backward pass is slow on CPU.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Linear(torch.autograd.Function):
    """y = x W^T + b with bfloat16 products, gradients likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        low = weight.bfloat16()
        ctx.save_for_backward(flat, low)
        ctx.biased = bias is not None
        out = flat @ low.T
        out = out.float() if bias is None else out + bias  # bfloat16 + float32 gives float32
        return out.view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        flat, low = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        small = grad.bfloat16()
        grad_x = (small @ low).float().view(*grads[0].shape[:-1], low.shape[1])
        grad_weight = (small.T @ flat).float()
        return grad_x, grad_weight, grad.sum(0) if ctx.biased else None


class Bf16Linear(TorchFunctionMode):
    """Within this context every `F.linear` (so every `nn.Linear`) is computed in bfloat16."""

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Replace `F.linear`; leave everything else."""
        if func is F.linear:
            x, weight, bias = (*args, None)[:3] if not kwargs else _bound(*args, **kwargs)
            return _Linear.apply(x, weight, bias)
        return func(*args, **(kwargs or {}))


def _bound(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Any, ...]:
    return input, weight, bias
