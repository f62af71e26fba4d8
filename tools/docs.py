"""Write the generated docs: options from the configs, tables from the code, the annotated tree.

``--check`` writes nothing and fails when a page is out of date.
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunewright.config.advice import AdviseConfig
from tunewright.config.benchmarks import BenchmarkConfig
from tunewright.config.data import PrepareConfig
from tunewright.config.deployment import DeployConfig
from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.export import ExportConfig, ServedConfig
from tunewright.config.generation import ParaphrasesConfig, QuestionsConfig, TextsConfig
from tunewright.config.judging import BlindConfig
from tunewright.config.serving import GenerationConfig, KeyConfig, KeyModelsConfig, ServeConfig
from tunewright.config.training import TrainConfig
from tunewright.data.checks.table import CHECKS
from tunewright.model.families import FAMILIES, Family

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = ROOT / "docs" / "options.md"
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
DATA = {"en": ROOT / "docs" / "data.md", "zh": ROOT / "docs" / "data.zh-CN.md"}
BASES = {"en": ROOT / "docs" / "bases.md", "zh": ROOT / "docs" / "bases.zh-CN.md"}
BEGIN, END = "<!-- made by python -m tools.docs -->\n", "<!-- end of what is made -->\n"
CHECKS_HEAD = {"en": "| check | option | actions |", "zh": "| 检查 | 选项 | 处理方式 |"}
FAMILIES_HEAD = {
    "en": "| family | `model_type` | for example | ends of an answer | system | tools | to know |",
    "zh": "| 系列 | `model_type` | 例如 | 回答的结束词元 | 系统消息 | 工具 | 须知 |",
}
YES, NO = {"en": "yes", "zh": "有"}, {"en": "no", "zh": "无"}
RECOMMENDED = {"en": " (recommended)", "zh": "（推荐）"}
COMMANDS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("prepare", PrepareConfig),
    ("generate questions", QuestionsConfig),
    ("generate texts", TextsConfig),
    ("generate paraphrases", ParaphrasesConfig),
    ("advise", AdviseConfig),
    ("train", TrainConfig),
    ("evaluate", EvaluateConfig),
    ("blind create", BlindConfig),
    ("benchmark", BenchmarkConfig),
    ("chat", GenerationConfig),
    ("export", ExportConfig),
    ("parity", ServedConfig),
    ("serve", ServeConfig),
    ("deploy", DeployConfig),
    ("keys create", KeyConfig),
    ("keys change", KeyModelsConfig),
)
OPENING = """# Options

Made from `src/tunewright/config/` by `python -m tools.docs`; a test keeps it in step.

Each option is a flag (`--batch-tokens 2048`, `--lora-rank 8`), a line in a YAML file given with
`--recipe`, and a key for `--set` (`--set lora.rank=8`). Later ones in this order win.

Every command also takes `--home`, `--json`, `--lang` and `--debug`, before its name or after it:
`tunewright --home /data/tw runs list`.
"""


def rows(cls: type[BaseModel], prefix: str = "") -> list[str]:
    """Markdown table rows, nested groups in place."""
    lines: list[str] = []
    for name, field in cls.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            lines += rows(inner, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else _default(field)
        bounds = ", ".join(_bound(item) for item in field.metadata if _bound(item))
        lines.append(f"| `{prefix}{name}` | {default} | {bounds} | {field.description} |")
    return lines


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get("chosen"):
        return "by the data"
    return _shown(field.get_default(call_default_factory=True))


def _shown(value: object) -> str:
    if value is None or value in ((), {}):
        return "–"
    return f"`{', '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def _bound(item: object) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for name, sign in signs.items():
        if hasattr(item, name):
            return f"{sign} {getattr(item, name)}"
    return ""


def options_page() -> str:
    """docs/options.md as it should be."""
    parts = [OPENING]
    for command, cls in COMMANDS:
        heading = f"\n## `tunewright {command}`\n\n| option | default | bounds | meaning |\n"
        parts.append(heading + "|---|---|---|---|\n" + "\n".join(rows(cls)) + "\n")
    return "".join(parts)


def tree() -> str:
    """Every module with the first line of its docstring."""
    lines = ["```"]
    package = ROOT / "src" / "tunewright"
    for path in sorted(package.rglob("*.py"), key=_order):
        relative = path.relative_to(package)
        indent = "  " * (len(relative.parts) - 1)
        name = f"{path.parent.name}/" if path.name == "__init__.py" else path.name
        indent = indent[2:] if path.name == "__init__.py" else indent
        summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")
        lines.append(f"{indent + name:<26} {summary[0]}".rstrip())
    return "\n".join([*lines, "```"]) + "\n"


def _order(path: Path) -> tuple[str, bool, str]:
    return (str(path.parent), path.name != "__init__.py", path.name)


def checks_table(language: str) -> str:
    """The checks of the data gate in their order, with what each can do."""
    lines = [CHECKS_HEAD[language], "|---|---|---|"]
    for check in CHECKS:
        settable = len(check.actions) > 1
        actions = [
            f"`{action}`: {escape(check.does[action][language], quote=False)}"
            f"{RECOMMENDED[language] if settable and action == check.actions[0] else ''}"
            for action in check.actions
        ]
        option = f"`checks.{check.name}`" if settable else "–"
        lines.append(f"| {check.title[language]} | {option} | {'<br>'.join(actions)} |")
    return "\n".join(lines) + "\n"


def families_table(language: str) -> str:
    """The catalog of architectures."""
    lines = [FAMILIES_HEAD[language], "|---|---|---|---|---|---|---|"]
    lines += [_family(family, language) for family in FAMILIES]
    return "\n".join(lines) + "\n"


def _family(family: Family, language: str) -> str:
    cells = [
        family.name,
        f"`{family.model_type}`",
        "<br>".join(f"`{identity}`" for identity in family.hubs),
        " ".join(f"`{end}`".replace("|", "\\|") for end in family.ends),
        (YES if family.system else NO)[language],
        (YES if family.tools else NO)[language],
        (family.note.zh if language == "zh" else family.note.en).replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def with_part(path: Path, part: str) -> str:
    """A page with its generated part brought up to date."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + part + END + after


def main() -> None:
    """Write the pages, or compare them with ``--check``."""
    pages = {
        OPTIONS: options_page(),
        ARCHITECTURE: with_part(ARCHITECTURE, tree()),
        **{path: with_part(path, checks_table(language)) for language, path in DATA.items()},
        **{path: with_part(path, families_table(language)) for language, path in BASES.items()},
    }
    for path, text in pages.items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{path.relative_to(ROOT)} is out of date; run: python -m tools.docs")


if __name__ == "__main__":
    main()
