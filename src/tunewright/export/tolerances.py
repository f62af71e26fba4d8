"""How far an export may be from its model, by what its numbers were rounded to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from tunewright.config.export import ToleranceConfig


@dataclass(frozen=True)
class Tolerance:
    """What is allowed.

    Attributes:
        logits: largest difference of a logit, or None where rounding makes it meaningless.
        divergence: largest mean Kullback-Leibler divergence, in nats.
        agreement: least share of tokens that both hold likeliest.
        endings: least share of answers that end the same way.
        noise: relative error of a layer's output that rounding alone explains.
    """

    logits: float | None
    divergence: float
    agreement: float
    endings: float
    noise: float

    def overruled(self, config: ToleranceConfig) -> Tolerance:
        """With the user's own bounds in place of these."""
        given = {k: v for k, v in config.model_dump().items() if v is not None}
        return replace(self, **given)

    def failures(
        self, *, logits: float, divergence: float, agreement: float, endings: float
    ) -> list[str]:
        """What is beyond the bounds, in words; empty when nothing is."""
        found: list[str] = []
        # Written so that a number which is none fails too.
        if self.logits is not None and not logits <= self.logits:
            found.append(f"logits differ by up to {logits:.2e}, allowed {self.logits:.0e}")
        if not divergence <= self.divergence:
            found.append(f"mean divergence {divergence:.2e} nats, allowed {self.divergence:.0e}")
        if not agreement >= self.agreement:
            found.append(f"{agreement:.2%} of tokens agree, needed {self.agreement:.2%}")
        if not endings >= self.endings:
            found.append(f"{endings:.2%} of answers end the same way, needed {self.endings:.2%}")
        return found

    def json(self) -> dict[str, Any]:
        """As ``parity.json`` holds it."""
        return asdict(self)


TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "float32": Tolerance(1e-4, 1e-6, 1.0, 1.0, 1e-5),
        "float16": Tolerance(None, 1e-3, 0.99, 0.95, 1e-2),
        "bfloat16": Tolerance(None, 5e-3, 0.98, 0.95, 5e-2),
        "q8_0": Tolerance(None, 1e-2, 0.97, 0.95, 5e-2),
        "q6_k": Tolerance(None, 2e-2, 0.96, 0.95, 0.1),
        "q5_k_m": Tolerance(None, 5e-2, 0.94, 0.9, 0.2),
        "q5_k_s": Tolerance(None, 5e-2, 0.94, 0.9, 0.2),
        "q5_1": Tolerance(None, 5e-2, 0.94, 0.9, 0.2),
        "q5_0": Tolerance(None, 5e-2, 0.93, 0.9, 0.2),
        "q4_k_m": Tolerance(None, 1e-1, 0.9, 0.85, 0.3),
        "q4_k_s": Tolerance(None, 1e-1, 0.9, 0.85, 0.3),
        "q4_1": Tolerance(None, 1e-1, 0.9, 0.85, 0.3),
        "q4_0": Tolerance(None, 1e-1, 0.9, 0.85, 0.3),
        "q3_k_m": Tolerance(None, 2e-1, 0.85, 0.8, 0.5),
        "q2_k": Tolerance(None, 5e-1, 0.75, 0.75, 0.8),
        "w8a16": Tolerance(None, 1e-2, 0.97, 0.95, 5e-2),
        "w4a16": Tolerance(None, 1e-1, 0.9, 0.85, 0.3),
        "int8": Tolerance(None, 1e-2, 0.97, 0.95, 5e-2),
        "nf4": Tolerance(None, 1e-1, 0.9, 0.85, 0.3),
    }
)
"""By precision. Rounding to fewer bits moves every logit a little; what counts is the answer."""
