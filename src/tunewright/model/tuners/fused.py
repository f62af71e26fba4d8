"""A frozen linear layer and its LoRA pair as one step of autograd.

As two separate paths, autograd adds the two gradients of the input in a pass of its own, and each
path's products come in layouts that the optimizer's kernels must transpose. Here the low-rank
products go straight into the large ones (``addmm_``), and every gradient is made in the layout
of its weight.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class FrozenLinearLora(torch.autograd.Function):
    """y = x·Wᵀ + bias + scale · (x·Aᵀ)·Bᵀ, with gradients for x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
    ) -> Tensor:
        """The layer's output.

        Args:
            ctx: autograd's notes.
            x: (…, in), of the weight's type.
            weight: W (out, in), frozen.
            bias: (out,), frozen, or None.
            a: A (rank, in), any floating type.
            b: B (out, rank), any floating type.
            scale: what B·A is multiplied with.
        """
        flat = x.reshape(-1, x.shape[-1])
        narrow_a, wide_b = a.to(x.dtype), b.to(x.dtype).t().contiguous()
        output = F.linear(flat, weight, bias)
        low = F.linear(flat, narrow_a).mul_(scale)
        output.addmm_(low, wide_b)
        ctx.save_for_backward(flat, weight, narrow_a, wide_b, low)
        ctx.scale, ctx.types, ctx.shape = scale, (a.dtype, b.dtype), x.shape
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, A and B."""
        flat, weight, a, wide_b, low = cast(tuple[Tensor, ...], ctx.saved_tensors)
        g = gradients[0].reshape(-1, weight.shape[0])
        low_g = F.linear(g, wide_b).mul_(ctx.scale)
        grad_a = low_g.t().mm(flat).to(ctx.types[0])
        # The tall product runs faster as a wide one whose result is transposed.
        grad_b = low.t().mm(g).t().to(ctx.types[1]).contiguous()
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = g.mm(weight).addmm_(low_g, a).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None
