"""A Tunewright server for the benchmark; prints its URL, and serves until it is terminated.

Arguments: home and base folder. With ``--adapters N`` it adds so many random LoRA adapters of the
base as tuned models, and serves nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tunewright.api.serve import serve
from tunewright.config.serving import ServeConfig
from tunewright.core.events import Event
from tunewright.core.records import Model
from tunewright.core.settings import Settings
from tunewright.core.store import Store


def main() -> None:
    """Add the adapters that are missing, or serve."""
    home, base = Path(sys.argv[1]), sys.argv[2]
    store = Store(home, Settings(home=home, offline=True))
    if sys.argv[3:4] == ["--adapters"]:
        if not store.list(Model):
            _add_adapters(store, base, int(sys.argv[4]))
        return

    def listen(event: Event) -> None:
        print(json.dumps(event.data), flush=True)

    config = {"port": 0, "bases": [base], "queue": 1024, "at_once": 1024, "log_format": "off"}
    serve(ServeConfig.build(config), store, listen)


def _add_adapters(store: Store, base_folder: str, count: int) -> None:
    import torch

    from tunewright.config.training import LoraConfig
    from tunewright.model.adapters import adapter_parameters, attach_lora, save_adapter
    from tunewright.model.catalog import resolve_base
    from tunewright.model.loading import load_model
    from tunewright.model.rendering import Renderer

    base = resolve_base(base_folder, store.settings)
    renderer = Renderer(base.folder)
    for number in range(count):
        model = load_model(base, torch.device("cpu"), torch.float32)
        config = LoraConfig(rank=8, alpha=16)
        attach_lora(model, config, seed=number)
        generator = torch.Generator().manual_seed(number)
        for parameter in adapter_parameters(model).values():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.add_(0.02 * noise)
        record = Model(
            id=Store.new_id(Model),
            name=f"ft:bench:{number}",
            base=base_folder,
            base_digest=base.digest,
            renderer_hash=renderer.hash,
            run="run_000000000000",
            step=1,
        )
        with store.stage(Model, record.id) as folder:
            save_adapter(model, config, record.base, folder)
        store.add(record)


if __name__ == "__main__":
    main()
