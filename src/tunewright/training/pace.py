"""How long a run takes: a share of what the machine multiplies, by the operations of a token."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tunewright.training.estimates import DeviceName, Estimate

EFFICIENCY: dict[DeviceName, float] = {"cpu": 0.55, "cuda": 0.5}
"""Share of a bare matrix product's speed that training reaches. On two CPU cores it measured 0.44
to 0.60; published LoRA runs on an H100 reach 0.41 to 0.43 of its peak (NVIDIA NeMo AutoModel,
performance summary), which is 0.55 to 0.6 of what a product reaches there."""

DRAWING: dict[DeviceName, float] = {"cpu": 0.05, "cuda": 0.02}
"""The same where answers are drawn token by token: every token reads all weights again, and small
products leave most of a machine idle. On two cores GRPO on the bundled base was planned with it at
1,822 tokens/s and ran at 1,613 (without a reference: 1,990 and 2,398). A GPU's is a guess."""


def timed(
    plan: Estimate, tokens: int, flops_per_second: float | None, device: DeviceName
) -> Estimate:
    """The estimate with time.

    Args:
        plan: an estimate.
        tokens: that the whole run trains on.
        flops_per_second: of a matrix product on this machine; None when it is not known.
        device: where it runs.
    """
    speed = None if flops_per_second is None else EFFICIENCY[device] * flops_per_second / plan.flops
    return replace(plan, tokens=tokens, tokens_per_second=speed)


@dataclass(frozen=True)
class Draw:
    """What a run draws before it learns, where it learns from its own answers.

    Attributes:
        tokens: of all questions with their answers, if each answer is as long as it may be.
        drawn: those of the answers among them.
        updates: times that each is learnt from.
        looks: forward passes over each besides: what the model said before, and at the start.
    """

    tokens: int
    drawn: int
    updates: int
    looks: int


def timed_drawing(
    plan: Estimate, draw: Draw, flops_per_second: float | None, device: DeviceName
) -> Estimate:
    """The estimate with the time of a run that draws its answers.

    Args:
        plan: an estimate; half of its operations per token are taken for a forward pass.
        draw: what is drawn and learnt.
        flops_per_second: of a matrix product on this machine; None when it is not known.
        device: where it runs.
    """
    found = replace(plan, tokens=draw.tokens, tokens_per_second=None, bound=True)
    if flops_per_second is None:
        return found
    forward = plan.flops / 2
    passes = draw.tokens * (draw.updates * plan.flops + draw.looks * forward)
    seconds = passes / EFFICIENCY[device] + draw.drawn * forward / DRAWING[device]
    return replace(found, tokens_per_second=draw.tokens * flops_per_second / seconds)


def corrected(plan: Estimate, tokens_per_second: float) -> Estimate:
    """The estimate with the speed that the first steps measured."""
    return replace(plan, tokens_per_second=tokens_per_second, measured=True)
