"""Tuners by name; a new one is one file and one entry here."""

from __future__ import annotations

from tunewright.config.training import TunerName
from tunewright.model.tuners.base import Tuner
from tunewright.model.tuners.bottleneck import BottleneckTuner
from tunewright.model.tuners.ia3 import Ia3Tuner
from tunewright.model.tuners.lora import LoraTuner
from tunewright.model.tuners.prefix import PrefixTuner
from tunewright.model.tuners.weights import FreezeTuner, FullTuner

TUNERS: dict[TunerName | str, Tuner] = {
    "lora": LoraTuner(),
    "full": FullTuner(),
    "freeze": FreezeTuner(),
    "ia3": Ia3Tuner(),
    "prefix": PrefixTuner(),
    "bottleneck": BottleneckTuner(),
}
