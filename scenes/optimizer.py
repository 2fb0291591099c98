"""Muon for matrices and convolutions, Adam for the rest: far fewer steps than Adam alone.

Muon (K. Jordan and others, 2024) replaces a matrix's momentum by the nearest orthogonal matrix,
found by five Newton-Schulz iterations; its step is scaled to the size of Adam's.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of a matrix [r, c] to about 1 (Newton-Schulz, quintic, bfloat16)."""
    x = (matrix / (matrix.norm() + 1e-7)).bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.T if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Muon on groups with `matrix` true, Adam on the others."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float = 1e-3):
        super().__init__(
            groups, {"lr": lr, "matrix": False, "momentum": 0.95, "betas": (0.9, 0.99)}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; a parameter without a gradient stays as it is."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = self._matrix if group["matrix"] else self._adam
                update(parameter, group, self.state[parameter])

    @staticmethod
    def _matrix(parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        grad, beta = parameter.grad, group["momentum"]
        assert grad is not None
        momentum = state.setdefault("momentum", torch.zeros_like(parameter))
        momentum.lerp_(grad, 1.0 - beta)
        nesterov = grad.lerp(momentum, beta).flatten(1)  # a convolution is one row per output
        update = orthogonalize(nesterov)
        size = 0.2 * max(update.shape) ** 0.5  # the root mean square of Adam's steps
        parameter.sub_(update.view_as(parameter), alpha=group["lr"] * size)

    @staticmethod
    def _adam(parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        grad, (beta1, beta2) = parameter.grad, group["betas"]
        assert grad is not None
        first = state.setdefault("first", torch.zeros_like(parameter))
        second = state.setdefault("second", torch.zeros_like(parameter))
        steps = state["steps"] = state.get("steps", 0) + 1
        first.lerp_(grad, 1.0 - beta1)
        second.lerp_(grad * grad, 1.0 - beta2)
        root = (second / (1.0 - beta2**steps)).sqrt_().add_(1e-8)
        parameter.addcdiv_(first, root, value=-group["lr"] / (1.0 - beta1**steps))


def make_optimizer(modules: Iterable[nn.Module], lr: float) -> Muon:
    """Muon for every trainable weight of two and more dimensions with 16 or more rows and columns.

    Embeddings, first and last layers are small here and go the same way; gains, biases and scalars
    go to Adam.
    """
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for module in modules:
        for parameter in module.parameters():
            if not parameter.requires_grad:
                continue
            big = parameter.ndim in (2, 4) and min(parameter.flatten(1).shape) >= 16
            (matrices if big else others).append(parameter)
    groups = [{"params": matrices, "matrix": True}, {"params": others, "matrix": False}]
    return Muon([group for group in groups if group["params"]], lr)
