"""Learning rate: its default and its course over the steps."""

from __future__ import annotations

import math

from tunewright.config.training import OptimizerConfig

# (parameters below this, peak learning rate, where the number comes from)
_DEFAULTS: tuple[tuple[float, float, str], ...] = (
    (50e6, 3e-3, "small bases forget less per step; measured on the bundled base"),
    (500e6, 2e-3, "between the measured small base and published sweeps at 1B"),
    (5e9, 1e-3, "published LoRA sweeps at 1B to 3B"),
    (math.inf, 3e-4, "published LoRA sweeps at 8B and above"),
)


def default_learning_rate(parameters: int) -> tuple[float, str]:
    """Peak learning rate for LoRA on a base of ``parameters`` weights, with the reason.

    LoRA's best rate is nearly independent of the rank and about ten times that of full tuning
    (Schulman et al. 2025, "LoRA Without Regret"); it falls slowly with the base's size.
    """
    rate, reason = next((rate, why) for bound, rate, why in _DEFAULTS if parameters < bound)
    return rate, f"default for {parameters / 1e6:,.0f}M parameters: {reason}"


def learning_rate(step: int, steps: int, peak: float, config: OptimizerConfig) -> float:
    """Learning rate of a step.

    Linear warm-up over the first ``warmup`` share of the steps, then half a cosine
    (Loshchilov & Hutter 2017, arXiv 1608.03983) towards ``final`` of the peak, which would be
    reached one step after the last, so that no step is wasted on a rate of zero.

    Args:
        step: 1-based.
        steps: of the whole run.
        peak: highest rate.
        config: gives ``warmup`` and ``final``.
    """
    warmup = math.ceil(config.warmup * steps)
    if step <= warmup:
        return peak * step / warmup
    progress = (step - warmup) / (steps - warmup + 1)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (config.final + (1 - config.final) * cosine)
