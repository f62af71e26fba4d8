"""Muon for matrices, AdamW for the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .workers import Group

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(stack: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices of `stack` (n, rows, columns), approximately.

    Newton-Schulz iteration with the quintic coefficients of Jordan et al. (Muon, 2024), carried
    out on the Gram matrix: every iterate is a polynomial of it times `stack`, so the long side
    takes part in two products only, which saves a third of the work.
    """
    a, b, c = NEWTON_SCHULZ
    wide = stack.shape[1] <= stack.shape[2]
    x = stack if wide else stack.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.transpose(1, 2)
    identity = torch.eye(gram.shape[1])
    total = identity
    for index in range(steps):
        factor = a * identity + b * gram + c * gram @ gram
        total = factor if index == 0 else factor @ total
        if index < steps - 1:
            gram = factor @ gram @ factor
    out: Tensor = total @ x
    return out if wide else out.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for matrices; those of one shape are handled as one stack."""

    def __init__(self, weights: list[nn.Parameter], lr: float, group: Group) -> None:
        super().__init__(weights, {"lr": lr, "momentum": 0.95})
        self.group = group

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step along the orthogonalised Nesterov momentum."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for weight in group["params"]:
                by_shape.setdefault(tuple(weight.shape), []).append(weight)
            for shape, weights in by_shape.items():
                updates = [self._momentum(w, group["momentum"]) for w in weights]
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                for weight, update in zip(
                    weights, orthogonalise(torch.stack(updates)), strict=True
                ):
                    weight.mul_(1 - group["lr"] * 0.1)
                    weight.add_(update, alpha=-group["lr"] * scale)

    def _momentum(self, weight: nn.Parameter, momentum: float) -> Tensor:
        if weight.grad is None:
            return torch.zeros_like(weight)
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - momentum)
        update: Tensor = weight.grad.lerp(state["momentum"], momentum)
        return update


def build(
    model: nn.Module, muon_lr: float, adam_lr: float, group: Group
) -> list[torch.optim.Optimizer]:
    """One Muon over all layer matrices and one AdamW over embedding and norms."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        inside = weight.dim() == 2 and "embed" not in name
        (matrices if inside else rest).append(weight)
    return [
        Muon(matrices, muon_lr, group),
        torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.97), weight_decay=0.0),
    ]
