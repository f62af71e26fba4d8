"""The table of formats, and which of them a file is in."""

from __future__ import annotations

import difflib

from tunewright.config.data import PrepareConfig
from tunewright.core.errors import ConfigError, DataError
from tunewright.data.columns import given_columns
from tunewright.data.formats.base import Format, Plan
from tunewright.data.formats.chat import CONVERSATIONS, MESSAGES, SHAREGPT
from tunewright.data.formats.classification import CLASSIFICATION
from tunewright.data.formats.log import LOG
from tunewright.data.formats.plain import TEXT
from tunewright.data.formats.preference import OPENAI_PREFERENCE, PREFERENCE
from tunewright.data.formats.rating import RATING
from tunewright.data.formats.rows import ALPACA, COLUMNS, COMPLETION, QUERY, SUMMARY
from tunewright.data.sources import Source

FORMATS: dict[str, Format] = {
    "openai-preference": OPENAI_PREFERENCE,
    "preference": PREFERENCE,
    "rating": RATING,
    "messages": MESSAGES,
    "sharegpt": SHAREGPT,
    "conversations": CONVERSATIONS,
    "log": LOG,
    "classification": CLASSIFICATION,
    "text": TEXT,
    "alpaca": ALPACA,
    "completion": COMPLETION,
    "summary": SUMMARY,
    "query": QUERY,
    "columns": COLUMNS,
}
"""Every format by its name, the first that fits a file is taken: the more telling come first."""


def make_plan(source: Source, config: PrepareConfig) -> Plan:
    """Choose a format for a file and map its columns.

    The option ``format`` decides; otherwise the first format of the table that fits and that
    understands every field of ``map``.

    Raises:
        ConfigError: no format has the name asked for.
        DataError: the file is not in the format asked for, or in none at all; the message names
            its columns and the mapping that would help.
    """
    if config.format != "auto":
        name = check_format(config.format)
        _refuse_fields(name, config)
        return FORMATS[name].plan(name, source, config)
    given_columns(source.name, source.columns, config.map)
    wanted = config.map.keys()
    able = {name: entry for name, entry in FORMATS.items() if wanted <= entry.takes}
    for name, entry in able.items():
        if entry.fits(source, config):
            return entry.plan(name, source, config)
    if wanted and "columns" not in able:
        return _only(able, source, config)
    return COLUMNS.plan("columns", source, config)


def check_format(name: str) -> str:
    """The name, if it is a format's or ``auto``.

    Raises:
        ConfigError: it is neither; the message has the list and the nearest name.
    """
    if name == "auto" or name in FORMATS:
        return name
    close = difflib.get_close_matches(name.lower(), FORMATS, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(
        f"option 'format': there is no format {name!r}{meant}",
        f"Formats: auto, {', '.join(FORMATS)}.",
    )


def _refuse_fields(name: str, config: PrepareConfig) -> None:
    strange = [field for field in config.map if field not in FORMATS[name].takes]
    if strange:
        raise DataError(
            f"--map {strange[0]}={config.map[strange[0]]}: format {name!r} has no such field",
            f"Its fields: {', '.join(sorted(FORMATS[name].takes))}.",
        )


def _only(able: dict[str, Format], source: Source, config: PrepareConfig) -> Plan:
    """The format that alone understands the fields asked for says what it lacks."""
    if not able:
        fields = ", ".join(config.map)
        raise DataError(
            f"{source.name}: no format has all of the fields {fields} that --map names",
            "Name the format with --format; `tunewright prepare --formats` lists their fields.",
        )
    name, entry = next(iter(able.items()))
    return entry.plan(name, source, config)
