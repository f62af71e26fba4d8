"""The house in order: generated docs in step, small modules, one-way layers, no unsafe calls."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "src" / "tunewright").rglob("*.py"))


def test_generated_docs_are_in_step() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.docs", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_layers_hold() -> None:
    program = "from importlinter.cli import lint_imports_command as run; run()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small_documented_and_safe(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is for"
    assert len(text.splitlines()) <= 400
    long = [
        f"{node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]
    assert not long
    for pattern in (r"\bpickle\b.*import|import pickle", r"torch\.load\(", r"shell=True",
                    r"trust_remote_code=True", r"yaml\.load\(", r"^\s*assert "):  # fmt: skip
        assert not re.search(pattern, text, re.MULTILINE), pattern
    if path.name != "settings.py":
        assert "os.environ" not in text
        assert "getenv" not in text


def test_english_and_chinese_readme_name_the_same_commands() -> None:
    english, chinese = (
        set(re.findall(r"tunewright ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")))
        for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese
