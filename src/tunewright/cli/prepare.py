"""``prepare``: show what was found, ask what to do about it, make the dataset."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tunewright import jobs
from tunewright.cli.display import Terminal
from tunewright.cli.options import Common, common_options, config_options
from tunewright.config.base import merge
from tunewright.config.data import PrepareConfig
from tunewright.core.records import Dataset
from tunewright.core.store import Store


@click.command(epilog="Example: tunewright prepare questions.csv --where is_best=1 --yes")
@click.argument("files", nargs=-1)
@config_options(PrepareConfig, skip=("files",))
@click.option("--yes", is_flag=True, help="Accept what was found and recommended without asking.")
@click.option("--dry-run", is_flag=True, help="Say what would be found and done; write nothing.")
@click.option("--formats", is_flag=True, help="List the formats that are recognised, and stop.")
@common_options
def prepare(
    common: Common,
    files: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    formats: bool,
    values: dict[str, Any],
) -> None:
    """Turn FILES into a dataset that can be trusted.

    FILES are tables (CSV, TSV, XLSX, Parquet, Arrow), JSON or JSONL, text or Markdown, folders of
    them, patterns such as 'data/*.csv', or gzip and zip archives. Encoding, separator, format and
    columns are found and shown. Checks look for duplicates, contradictions, personal data and
    more; what they would do can be accepted, declined or set with --checks-NAME. Every row that
    is left out or changed is accounted for; the rest is split into train, dev and test so that
    no question stands in two of them.
    """
    if formats:
        _print_formats(common.settings().language)
        return
    config = PrepareConfig.build({**values, **({"files": files} if files else {})})
    store = common.store()
    with Terminal() as terminal:
        if dry_run:
            _rehearse(common, config, store, terminal)
            return
        if not yes and sys.stdin.isatty():
            config = _asked(config, store, terminal)
        record = jobs.run(config, store, terminal)
    if not isinstance(record, Dataset):
        raise TypeError("prepare returned no dataset")
    folder = store.folder(Dataset, record.id)
    report = folder / "report.html"
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    terminal.say(f"Dataset {record.id} ({record.name})")
    _print_report(facts, store.settings.language, terminal)
    terminal.say(f"Report: {report}")
    common.finish(_result(record, str(report)))


def _result(record: Dataset, report: str | None) -> dict[str, Any]:
    return {
        "dataset": record.id,
        "name": record.name,
        "content": record.content,
        "rows": record.rows,
        "splits": record.splits,
        "mixed": record.mixed,
        "tokens": record.tokens,
        "report": report,
    }


def _rehearse(common: Common, config: PrepareConfig, store: Store, terminal: Terminal) -> None:
    from tunewright.data.prepare import rehearse

    record, report = rehearse(config, store, terminal)
    _print_report(report, store.settings.language, terminal)
    terminal.say("Nothing was written (--dry-run).")
    common.finish({**_result(record, None), "findings": report["findings"]})


def _asked(config: PrepareConfig, store: Store, terminal: Terminal) -> PrepareConfig:
    """The config with the user's answers: how the files are read, then each finding."""
    from tunewright.data.checks.base import Check, Finding
    from tunewright.data.prepare import preview, rehearse

    preview(config, store, terminal)
    _confirm(terminal, "Read them like this?")
    chosen: dict[str, str] = {}
    language = store.settings.language if store.settings.language in ("en", "zh") else "en"

    def choose(check: Check, finding: Finding) -> str:
        terminal.say(f"{check.title[language]}: {check.says[language].format(**finding.facts)}")
        for example in finding.examples[:2]:
            terminal.say(f"    {example.file}, row {example.row}: {example.text[:100]}")
        for action in check.actions:
            terminal.say(f"  {action}: {check.does[action][language]}")
        with terminal.paused():
            chosen[check.name] = click.prompt(
                "What to do?", type=click.Choice(check.actions), default=finding.action, err=True
            )
        return chosen[check.name]

    _, report = rehearse(config, store, terminal, choose)
    _print_report(report, language, terminal)
    _confirm(terminal, "Make this dataset?")
    return PrepareConfig.build(merge(config.json_dict(), {"checks": chosen}))


def _confirm(terminal: Terminal, question: str) -> None:
    with terminal.paused():
        if not click.confirm(question, default=True, err=True):
            raise click.Abort


def _print_report(report: dict[str, Any], language: str, terminal: Terminal) -> None:
    from tunewright.data.labels import Words
    from tunewright.data.summary import report_lines

    for line in report_lines(report, Words.of(language)):
        terminal.say(line)


def _print_formats(language: str) -> None:
    from tunewright.data.formats import FORMATS

    for name, entry in FORMATS.items():
        click.echo(f"{name:<18}{entry.title['zh' if language == 'zh' else 'en']}")
        click.echo(f"{'':<18}{entry.example}")
        click.echo(f"{'':<18}--map: {', '.join(sorted(entry.takes))}")
