"""The stage ``prepare``: source files → Dataset."""

from __future__ import annotations

import gc
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunewright.config.data import PrepareConfig
from tunewright.config.serving import MOST_CHOICES
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.files import digest
from tunewright.core.messages import SPLITS, Split
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.data.checks.shown import hidden_all
from tunewright.data.collect import Collection, collect
from tunewright.data.collect import preview as preview_files
from tunewright.data.estimate import lengths_of
from tunewright.data.measure import Length, measure, summary
from tunewright.data.mix import draw, pool, wanted_rows
from tunewright.data.passages import split_text
from tunewright.data.pipeline import Choose, as_recommended, run_checks
from tunewright.data.records import Draft
from tunewright.data.report import Prepared, build_report, render_html
from tunewright.data.sources import display_names
from tunewright.data.split import assign, held_topics
from tunewright.model.catalog import Base, resolve_base
from tunewright.model.rendering import Renderer

_NAME = re.compile(r"[\w][\w.-]{0,63}")
_RESERVED = re.compile(r"latest|(ds|run|mdl|ev)_[0-9a-f]*")


def prepare(config: PrepareConfig, store: Store, listen: Listener = ignore) -> Dataset:
    """Read, map, check, split and measure the files of ``config``; same input, same dataset id.

    Args:
        config: files and options.
        store: where the dataset goes.
        listen: told the encoding and mapping found, progress, and the counts.

    Returns:
        The dataset's record; the one already there if the same rows were prepared before.

    Raises:
        DataError: a file cannot be read or mapped, or no row is left to train on.
        ConfigError: a name that cannot be one, or rows longer than the base's context.
        ModelError: the base, or the general rows asked for, cannot be found.
        StorageError: the disk refuses.
    """
    with uncollected():
        record, is_new = _made(config, store, listen)
    if not is_new:
        _note(listen, f"the same rows are already prepared as {record.id} ({record.name})")
        return record
    store.add(record)
    _note(listen, _counts_text(record))
    return store.get(Dataset, record.id)


def _made(config: PrepareConfig, store: Store, listen: Listener) -> tuple[Dataset, bool]:
    """The record, and whether it is new and its folder written; frees all rows on its return."""
    name, base, renderer = _start(config, store, listen)
    prepared = _prepared(config, store, renderer, listen, as_recommended)
    record = _record(name, config, base, prepared, renderer)
    known = store.find(Dataset, record.id)
    if known is None:
        _write(record, prepared, renderer, store)
    return known or record, known is None


def rehearse(
    config: PrepareConfig, store: Store, listen: Listener = ignore, choose: Choose = as_recommended
) -> tuple[Dataset, dict[str, Any]]:
    """All of ``prepare`` but the writing: the record that it would make, and its report.

    Args:
        config, store, listen: as for ``prepare``.
        choose: asked what to do about each finding that ``config.checks`` leaves open; to
            prepare with its choices, put them into the config.

    Raises:
        DataError, ConfigError, ModelError: as ``prepare``.
    """
    name, base, renderer = _start(config, store, listen)
    with uncollected():
        prepared = _prepared(config, store, renderer, listen, choose)
        record = _record(name, config, base, prepared, renderer)
        return record, build_report(record, prepared, renderer)


def preview(config: PrepareConfig, store: Store, listen: Listener = ignore) -> None:
    """Tell the listener how the files would be read, with a row of each; nothing is written.

    Raises:
        DataError, ConfigError, ModelError: as ``prepare``.
    """
    _name(config)
    resolve_base(config.base, store.settings, listen)
    preview_files(config, listen)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's cycle collector, which would walk millions of live rows again and again.

    Rows hold no cycles. What is made inside should be let go of inside, or it is walked then.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# Rows ------------------------------------------------------------------------------------------


def _start(config: PrepareConfig, store: Store, listen: Listener) -> tuple[str, Base, Renderer]:
    name = _name(config)
    base = resolve_base(config.base, store.settings, listen)
    renderer = Renderer(base.folder)
    if (config.max_tokens or 0) > renderer.context_length:
        raise ConfigError(
            f"option 'max_tokens': {config.max_tokens} is more than {base.name}'s context of "
            f"{renderer.context_length} tokens"
        )
    return name, base, renderer


def _prepared(
    config: PrepareConfig, store: Store, renderer: Renderer, listen: Listener, choose: Choose
) -> Prepared:
    pools = {name: pool(name, store) for name in wanted_rows(config.mix, 1)}
    collection = collect(config, listen)
    findings = run_checks(collection, config, renderer, choose, listen)
    limit = config.max_tokens or renderer.context_length
    _split_texts(collection, renderer, limit)
    lengths = lengths_of(collection.train + collection.test, renderer, limit, listen)
    at = len(collection.train)
    train = _fitting(collection, collection.train, lengths[:at], limit)
    test = _fitting(collection, collection.test, lengths[at:], limit)
    if not train:
        raise _nothing_left(collection, config)
    if config.checks.personal != "keep":
        _hide_in_dropped(collection)
    splits = _split(train, test, config)
    wanted = wanted_rows(config.mix, len(splits["train"]))
    for name, count in wanted.items():
        splits["train"] += _mixed(pools[name], count, splits, config, renderer, limit)
    return Prepared(collection, findings, train + test, splits, sum(wanted.values()), limit)


def _hide_in_dropped(collection: Collection) -> None:
    """Excerpts of rows left out before the personal data was masked must not show it either."""
    texts = hidden_all([row.text for row in collection.dropped])
    pairs = zip(collection.dropped, texts, strict=True)
    collection.dropped = [row._replace(text=text) for row, text in pairs]


def _split_texts(collection: Collection, renderer: Renderer, limit: int) -> None:
    """Documents longer than the context become several rows; none is cut short or left out."""
    for rows in (collection.train, collection.test):
        if rows and rows[0].kind == "text":
            rows[:] = [piece for draft in rows for piece in split_text(draft, renderer, limit)]


def _split(
    train: list[tuple[Draft, Length]], test: list[tuple[Draft, Length]], config: PrepareConfig
) -> dict[Split, list[Draft]]:
    labels = {draft.group: draft.label for draft, _ in train if draft.label is not None}
    groups = (draft.group for draft, _ in train)
    chosen = assign(groups, config.split, not config.test_files, labels)
    topics = held_topics((draft.slice for draft, _ in train if draft.slice), config.split)
    # Whole groups go: a near-equal question under another topic would give the answer away.
    chosen |= {draft.group: "test" for draft, _ in train if draft.slice in topics}
    splits: dict[Split, list[Draft]] = {split: [] for split in SPLITS}
    for draft, _ in train:
        splits[chosen[draft.group]].append(draft)
    splits[config.split.named] += [draft for draft, _ in test]
    return splits


def _fitting(
    collection: Collection, drafts: list[Draft], lengths: list[Length], limit: int
) -> list[tuple[Draft, Length]]:
    fitting = []
    for draft, length in zip(drafts, lengths, strict=True):
        if length.refusal:
            collection.drop(draft, length.reason, length.refusal)
        elif length.tokens > limit:
            collection.drop(draft, "longer than the context", f"{length.tokens} tokens")
        elif not length.supervised:
            collection.drop(draft, "empty answer", "no token to learn")
        else:
            fitting.append((draft, length))
    return fitting


def _mixed(
    rows: list[Draft],
    wanted: int,
    splits: dict[Split, list[Draft]],
    config: PrepareConfig,
    renderer: Renderer,
    limit: int,
) -> list[Draft]:
    def fits(drafts: list[Draft]) -> list[bool]:
        return [0 < length.tokens <= limit for length in measure(drafts, renderer, ignore)]

    held = frozenset(draft.group for name in ("dev", "test") for draft in splits[name])
    return draw(rows, wanted, config.split.seed, held, fits)


def _nothing_left(collection: Collection, config: PrepareConfig) -> DataError:
    counts = "; ".join(f"{count} × {reason}" for reason, count in collection.counts().items())
    first = next(iter(collection.dropped), None)
    where = f" First: {first.file}, row {first.row}: {first.text[:120]}" if first else ""
    hint = "Check --where and the columns that were chosen, or name them with --map."
    if "longer than the context" in counts:
        hint = f"Choose a base with a longer context than {config.base}, or shorten the rows."
    return DataError(f"no row is left to train on: {counts or 'there were none'}.{where}", hint)


# Record ------------------------------------------------------------------------------------------


def _name(config: PrepareConfig) -> str:
    if config.name is None:
        cleaned = re.sub(r"[^\w.-]+", "-", Path(config.files[0]).stem).strip("-._")[:64]
        return f"data-{cleaned}" if _RESERVED.fullmatch(cleaned) else cleaned or "data"
    if not _NAME.fullmatch(config.name) or _RESERVED.fullmatch(config.name):
        raise ConfigError(
            f"option 'name': {config.name!r} cannot be a dataset's name",
            "Letters, digits, '.', '_' and '-', at most 64; not 'latest' and not like an id.",
        )
    return config.name


def _record(
    name: str, config: PrepareConfig, base: Base, prepared: Prepared, renderer: Renderer
) -> Dataset:
    collection, splits = prepared.collection, prepared.splits
    content = _content_digest(name, config, splits, renderer)
    mixed = sum(draft.origin == "general" for draft in splits["train"])
    dropped = collection.counts()
    kept = {(draft.file, draft.number) for draft, _ in prepared.kept}
    names = display_names(config.files + config.test_files)
    return Dataset(
        id=f"{Dataset.prefix}_{content[:12]}",
        name=name,
        files=tuple(names.values()),
        digest=content,
        config=config.json_dict(),
        content=prepared.kept[0][0].kind,
        rows={
            "read": collection.read,
            "kept": len(kept),
            "merged": collection.merged,
            "dropped": dropped,
            "changed": len(kept & {(row.file, row.row) for row in collection.changed}),
            "truncated": 0,
        },
        splits={s: len(splits[s]) - (mixed if s == "train" else 0) for s in SPLITS},
        mixed=mixed,
        base=base.name,
        tokens=summary([length for _, length in prepared.kept]),
        labels=_labels([draft for draft, _ in prepared.kept]),
    )


def _labels(kept: list[Draft]) -> tuple[str, ...]:
    """The classes, when the answer to every row is its class and they are not too many."""
    if not all(draft.label is not None and draft.label == draft.answer for draft in kept):
        return ()
    found = sorted({draft.answer for draft in kept})
    return tuple(found) if len(found) <= MOST_CHOICES else ()


def _content_digest(
    name: str, config: PrepareConfig, splits: dict[Split, list[Draft]], renderer: Renderer
) -> str:
    """Equal for equal rows under equal options, wherever the files lie and whatever they weigh."""
    names = display_names(config.files + config.test_files)
    options: dict[str, Any] = {
        **config.json_dict(),
        "name": name,
        "base": renderer.hash,
        "files": [names[file] for file in config.files],
        "test_files": [names[file] for file in config.test_files],
    }
    rows = hashlib.sha256()
    for split in SPLITS:
        rows.update(split.encode())
        for draft in splits[split]:
            rows.update(draft.line())
    return digest({"config": options, "rows": rows.hexdigest()})


def _write(record: Dataset, prepared: Prepared, renderer: Renderer, store: Store) -> None:
    report = build_report(record, prepared, renderer)
    page = render_html(report, store.settings.language)
    with store.stage(Dataset, record.id) as folder:
        for split in SPLITS:
            with open(folder / f"{split}.jsonl", "wb") as file:
                file.writelines(draft.line() for draft in prepared.splits[split])
        dropped = (row.json_dict() for row in prepared.collection.dropped)
        _write_lines(folder / "dropped.jsonl", dropped)
        changed = (row.json_dict() for row in prepared.collection.changed)
        _write_lines(folder / "changed.jsonl", changed)
        _write_lines(folder / "report.json", [report])
        (folder / "report.html").write_text(page, encoding="utf-8")


def _write_lines(path: Path, values: Iterable[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")


def _counts_text(record: Dataset) -> str:
    rows = record.rows
    dropped = ", ".join(f"{count} {reason}" for reason, count in rows["dropped"].items())
    text = f"{rows['kept']} of {rows['read']} rows kept"
    text += f" (left out: {dropped})" if dropped else ""
    held = f"{record.splits['train']} train, {record.splits['dev']} dev, {record.splits['test']}"
    mixed = f", and {record.mixed} general rows in train" if record.mixed else ""
    return f"{text}; {held} test{mixed}"


def _note(listen: Listener, text: str) -> None:
    listen(Event(kind="note", data={"text": text}))
