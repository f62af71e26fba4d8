"""Measure what the demo's run forgets when no general rows are mixed in.

Writes the facts that the demo's report shows beside its own result. Run it again whenever the
base, the sample job or the demo's recipe changes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tunewright.core.events import Event
from tunewright.core.settings import set_process_defaults
from tunewright.core.store import Store
from tunewright.demo import run_demo, sample_files


def main() -> None:
    """Run the demo without replay in a temporary home and keep its scores."""
    set_process_defaults()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "home")
        evaluation = run_demo(store, _say, replay="0%").evaluation
        store.close()
    facts = {
        "models": ["nano", "tuned"],
        "scores": dict(zip(("nano", "tuned"), evaluation.scores.values(), strict=True)),
        "general": dict(zip(("nano", "tuned"), evaluation.general.values(), strict=True)),
    }
    target = sample_files()[0].with_name("without_replay.json")
    target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts))


def _say(event: Event) -> None:
    if event.kind == "note":
        print(event.data["text"])


if __name__ == "__main__":
    main()
