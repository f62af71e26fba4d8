"""What the pages on security and reliability claim is kept by tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "tunewright"
PAGES = ("security.md", "security.zh-CN.md", "reliability.md", "reliability.zh-CN.md")
ATTACKS = 76
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\| ([\d–, ]+) \|", re.MULTILINE)

# A call by name, or an import, that would undo what the page promises.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "subprocess.getoutput", "asyncio.create_subprocess_shell"),
    *("torch.load", "numpy.load", "np.load", "yaml.load", "jsonpickle.decode"),
    *("jinja2.Template", "Template.from_string", "shutil.unpack_archive"),
}
FORBIDDEN_IMPORTS = {
    "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "tarfile", "zmq",
    "xmlrpc", "xml", "telnetlib", "ftplib", "urllib.request", "requests", "socketserver",
}  # fmt: skip


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def numbers(text: str) -> list[int]:
    """The attacks that a page's rows speak of."""
    found: list[int] = []
    for row in ROW.findall(text):
        for part in row.split(","):
            first, _, last = part.strip().partition("–")
            found += range(int(first), int(last or first) + 1)
    return found


@pytest.mark.parametrize("name", ["security.md", "security.zh-CN.md"])
def test_every_attack_has_one_answer(name: str) -> None:
    assert sorted(numbers(page(name))) == list(range(1, ATTACKS + 1))


@pytest.mark.parametrize("name", PAGES)
def test_every_test_that_a_page_names_exists(name: str) -> None:
    named = set(NAMED.findall(page(name)))
    assert len(named) > 20
    for path, function in named:
        tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
        functions = {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
        assert function in functions, f"{path} has no {function}"


@pytest.mark.parametrize("name", ["security", "reliability"])
def test_both_languages_name_the_same_tests(name: str) -> None:
    english, chinese = (NAMED.findall(page(f"{name}{end}")) for end in (".md", ".zh-CN.md"))
    assert english == chinese


def test_the_source_calls_nothing_of_the_kind() -> None:
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            wrong += [
                f"{where}:{getattr(node, 'lineno', 0)}: {what}"
                for what in (*imported(node), *called(node))
            ]
    assert wrong == []


def imported(node: ast.AST) -> list[str]:
    """Modules that have no business here."""
    if isinstance(node, ast.Import):
        names = [one.name for one in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    else:
        return []
    return [name for name in names if {name, name.partition(".")[0]} & FORBIDDEN_IMPORTS]


def called(node: ast.AST) -> list[str]:
    """Calls and options that have none."""
    if isinstance(node, ast.keyword):
        off = isinstance(node.value, ast.Constant) and node.value.value is False
        return [node.arg] if node.arg in ("shell", "trust_remote_code") and not off else []
    if not isinstance(node, ast.Call):
        return []
    name = ast.unparse(node.func)
    options = {one.arg: ast.unparse(one.value) for one in node.keywords}
    if name == "Environment" and options.get("autoescape") != "True":
        return ["Environment without autoescape"]
    return [name] if name in FORBIDDEN else []
