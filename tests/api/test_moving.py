"""The page on moving from OpenAI: its code runs as it stands, in both languages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PATIENCE, start_server

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("fine-tuning-api.md", "fine-tuning-api.zh-CN.md")


def blocks(page: str, language: str) -> list[str]:
    """Code of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_both_languages_show_the_same_code() -> None:
    for language in ("python", "sh"):
        english, chinese = (blocks(page, language) for page in PAGES)
        assert english == chinese
        assert english


@pytest.mark.timeout(600)
def test_the_code_runs_as_it_stands(tmp_path: Path) -> None:
    server = start_server(tmp_path / "home", timeout=PATIENCE)
    try:
        program = tmp_path / "moving.py"
        program.write_text("\n".join(blocks(PAGES[0], "python")), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(program)],
            cwd=tmp_path,
            env={**os.environ, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none"},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        assert done.returncode == 0, done.stderr + server.stderr.read_text()
        for part in ("New fine-tuned model created: ft:nano:default:colours:", "ftjob-"):
            assert part in done.stdout
    finally:
        server.stop()
