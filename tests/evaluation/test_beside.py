"""Other evaluations shown for comparison."""

import json
from pathlib import Path

import pytest

from tunewright.core.errors import ConfigError
from tunewright.core.store import Store
from tunewright.evaluation.beside import Beside, read_beside

FACTS = {
    "models": ["nano", "tuned"],
    "scores": {"nano": {"exact": {"all": 0.0}}, "tuned": {"exact": {"all": 0.75}}},
    "general": {"nano": 0.9, "tuned": 0.25},
    "verdict": "fail",
}


def test_a_summary_is_read_from_its_file(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(FACTS), encoding="utf-8")
    assert read_beside({"no replay": str(path)}, store) == [
        Beside("no replay", 0.0, 0.75, 0.9, 0.25)
    ]


def test_what_is_no_evaluation_is_refused(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"models": []}', encoding="utf-8")
    for reference in (str(path), "ev_nothing", str(tmp_path)):
        with pytest.raises(ConfigError, match="neither an evaluation's id nor the path"):
            read_beside({"x": reference}, store)
