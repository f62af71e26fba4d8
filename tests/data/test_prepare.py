"""The whole stage on files as they come: every row accounted for, nothing leaked, nothing run."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.core.dataset_io import read_rows
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.events import Event
from tunewright.core.messages import SPLITS, Row
from tunewright.core.records import Dataset
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.data.prepare import prepare, preview

HEADER = ("title", "question", "reply", "is_best")


class Stage:
    """``prepare`` with a tiny base, keeping what it was told on the way."""

    def __init__(self, store: Store, base: Path) -> None:
        self.store = store
        self.base = base
        self.events: list[Event] = []

    def __call__(self, *files: Path, **options: Any) -> Dataset:
        return prepare(self.config(*files, **options), self.store, self.events.append)

    def config(self, *files: Path, **options: Any) -> PrepareConfig:
        names = [str(file) for file in files]
        return PrepareConfig.build({"files": names, "base": str(self.base), **options})

    def rows(self, dataset: Dataset) -> dict[str, list[Row]]:
        folder = self.store.folder(Dataset, dataset.id)
        return {split: read_rows(folder, split) for split in SPLITS}

    def report(self, dataset: Dataset) -> dict[str, Any]:
        text = self.page(dataset, "report.json")
        report: dict[str, Any] = json.loads(text)
        return report

    def page(self, dataset: Dataset, name: str = "report.html") -> str:
        return (self.store.folder(Dataset, dataset.id) / name).read_text(encoding="utf-8")

    def dropped(self, dataset: Dataset) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.page(dataset, "dropped.jsonl").splitlines()]


@pytest.fixture
def stage(store: Store, tiny_base: Path) -> Stage:
    return Stage(store, tiny_base)


def write_csv(
    path: Path,
    rows: Sequence[Sequence[str]],
    header: Sequence[str] = HEADER,
    encoding: str = "utf8",
) -> Path:
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def forum(count: int = 40) -> list[list[str]]:
    return [["", f"第{n}条规定说的是什么？", f"第{n}条说的是押金。", "1"] for n in range(count)]


def accounted(stage: Stage, dataset: Dataset) -> None:
    rows, splits = dataset.rows, stage.rows(dataset)
    dropped = stage.dropped(dataset)
    assert rows["read"] == rows["kept"] + rows["merged"] + sum(rows["dropped"].values())
    assert rows["dropped"] == dict(Counter(row["reason"] for row in dropped))
    assert rows["kept"] == sum(dataset.splits.values())
    assert rows["truncated"] == 0
    own = {s: sum(row.origin == "own" for row in splits[s]) for s in SPLITS}
    assert own == dataset.splits
    places = [(row["file"], row["row"]) for row in dropped]
    places += [
        (r.source.file, r.source.row) for s in SPLITS for r in splits[s] if r.origin == "own"
    ]
    assert len(set(places)) == len(places) == rows["read"]


def test_a_forum_export_with_nothing_but_its_name(stage: Stage, tmp_path: Path) -> None:
    rows = [
        *forum(),
        ["", "第1条规定说的是什么？", "不知道。", "0"],
        ["", "第2条规定说的是什么？", "第2条说的是押金。", "1"],
        ["", "第３条规定说的是什么?", "第3条说的是租期。", "1"],
        ["只有标题的问题", "", "只有标题也行。", "1"],
        ["", "", "没有问题。", "1"],
        ["没有回答", "真的没有回答", " ", "0"],
    ]
    path = write_csv(tmp_path / "客服 问答.csv", rows, encoding="gb18030")
    dataset = stage(path)
    assert dataset.rows == {
        "read": 46,
        "kept": 41,
        "dropped": {
            "not the best answer": 1,
            "duplicate": 1,
            "contradicting answer": 1,
            "empty question": 1,
            "empty answer": 1,
        },
        "merged": 0,
        "changed": 0,
        "truncated": 0,
    }
    accounted(stage, dataset)
    assert dataset.name == "客服-问答"
    assert {row.source.file for row in stage.rows(dataset)["train"]} == {"客服 问答.csv"}
    report = stage.report(dataset)
    assert report["files"][0]["encoding"] == "GB18030"
    assert report["files"][0]["fields"]["question"] == "question"
    assert min(dataset.splits.values()) >= 1
    contradiction = next(r for r in stage.dropped(dataset) if "contradicting" in r["reason"])
    assert contradiction["kept"] == ["客服 问答.csv", 5]
    notes = [event.data["text"] for event in stage.events if event.kind == "note"]
    assert "GB18030" in notes[0]
    assert "only rows whose 'is_best' says yes" in notes[0]
    assert notes[-1].startswith("41 of 46 rows kept")


def test_every_dirt_at_once(stage: Stage, tmp_path: Path) -> None:
    good = "".join(f"规定{n}是什么？,规定{n}说押金。,1\r\n" for n in range(12))
    text = (
        "\ufeff提问,答复, 采纳 \r\n" + good + "\r\n"
        '"多行\n问题","多行\r\n回答，带""引号""",1\n'
        "少一列\n"
        "多,一,列,了\n"
        "尾部逗号,没关系,1,,\n"
        ",,\n"
        " \u3000 ,只有回答,1\n"
        "零字节\0问题,零字节\0回答,1\n"
        "坏\ufffd了,锟斤拷锟斤拷,1\n"
        f"太长,{'长' * 900},1\n"
        "<|im_end|>是什么,它是<|im_start|>标记,1\n"
        "<script>alert(1)</script>,{{ 7*7 }} <img src=x onerror=alert(1)>,1\n"
        "规定1是什么?,规定1说押金。,1\n"
        "最后一行,没有换行,1"
    )
    path = tmp_path / "dirt.csv"
    path.write_bytes(text.encode())
    dataset = stage(path)
    accounted(stage, dataset)
    assert dataset.rows["dropped"] == {
        "wrong number of fields": 2,
        "empty question": 2,  # one of them was nothing but a script
        "garbled characters": 1,
        "duplicate": 1,
        "longer than the context": 1,
    }
    assert dataset.rows["kept"] == 17
    rows = [row for split in stage.rows(dataset).values() for row in split]
    questions = {row.conversation.question: row for row in rows}
    assert questions["多行\n问题"].conversation.answer == '多行\n回答，带"引号"'
    assert questions["零字节问题"].conversation.answer == "零字节回答"
    assert "最后一行" in questions
    found = {finding["check"] for finding in stage.report(dataset)["findings"]}
    assert {"garbled", "html", "control", "duplicates"} <= found
    assert stage.report(dataset)["files"][0]["notes"] == [{"kind": "nul bytes", "count": 2}]


def test_the_report_is_inert_and_needs_no_network(
    home: Path, tiny_base: Path, tmp_path: Path
) -> None:
    evil = '<script>alert("x")</script><img src="http://x.invalid/a.png">'
    rows = [["", evil, evil, "1"], ["", evil + "?", "", "1"], *forum(3)]
    path = write_csv(tmp_path / "evil.csv", rows)
    for language, words in (("en", "Data report"), ("zh", "数据报告")):
        folder = home / language
        store = Store(folder, Settings(home=folder, offline=True, language=language))
        stage = Stage(store, tiny_base)
        page = stage.page(stage(path))
        assert words in page
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
        assert not re.search(r"(src|href|url)\s*[=(]", page.replace("src=&#34;", ""))
        assert "default-src 'none'" in page
        store.close()


def test_the_same_rows_are_the_same_dataset(stage: Stage, tmp_path: Path) -> None:
    first = stage(write_csv(tmp_path / "a.csv", forum()))
    assert stage(tmp_path / "a.csv") == first
    (tmp_path / "elsewhere").mkdir()
    assert stage(write_csv(tmp_path / "elsewhere" / "a.csv", forum())) == first
    assert len(stage.store.list(Dataset)) == 1
    assert "already prepared" in stage.events[-1].data["text"]
    others = [
        stage(tmp_path / "a.csv", split={"seed": 1}),
        stage(tmp_path / "a.csv", name="other"),
        stage(write_csv(tmp_path / "a.csv", forum(41))),
    ]
    assert len({first.id, *(other.id for other in others)}) == 4
    assert first.digest.startswith(first.id.removeprefix("ds_"))


def test_appended_rows_leave_the_others_where_they_were(stage: Stage, tmp_path: Path) -> None:
    def places(count: int) -> dict[str, str]:
        dataset = stage(write_csv(tmp_path / "a.csv", forum(count)))
        rows = stage.rows(dataset)
        return {row.conversation.question: split for split in SPLITS for row in rows[split]}

    before, after = places(200), places(260)
    assert {question: after[question] for question in before} == before


def test_near_equal_questions_never_stand_in_two_splits(stage: Stage, tmp_path: Path) -> None:
    rows = []
    for n in range(120):
        rule = chr(0x4E00 + 7 * n) + chr(0x6E00 + 5 * n)
        rows.append([f"{rule}怎么理解", "", f"答{n}甲。", "1"])
        rows.append(["", f"{rule}，怎么理解？？", f"答{n}乙。", "1"])
        rows.append([f"{rule}怎么理解", f"{rule}怎么理解？想了解。", f"答{n}丙。", "1"])
    dataset = stage(write_csv(tmp_path / "near.csv", rows))
    assert dataset.rows["kept"] == 360
    groups = {s: {row.group for row in found} for s, found in stage.rows(dataset).items()}
    assert sum(len(found) for found in groups.values()) == 120
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["dev"]


def test_test_files_stay_as_they_are_and_out_of_training(stage: Stage, tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    lines = [
        {"question": "第1条规定说的是什么", "answer": "押金。", "kind": "reworded"},
        {"question": "第1条规定说的是什么", "answer": "押金！", "kind": "synonyms"},
        {"question": "新问题？", "answer": "新回答。", "kind": "synonyms"},
        {"question": "没有回答？", "answer": "", "kind": "synonyms"},
    ]
    test.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    path = write_csv(tmp_path / "a.csv", forum())
    dataset = stage(path, test_files=[str(test)], where={"is_best": "1"}, map={"answer": "reply"})
    accounted(stage, dataset)
    rows = stage.rows(dataset)
    assert [(r.conversation.answer, r.slice) for r in rows["test"]] == [
        ("押金。", "reworded"),
        ("押金！", "synonyms"),
        ("新回答。", "synonyms"),
    ]
    assert dataset.rows["dropped"] == {"question stands in the test set": 1, "empty answer": 1}
    trained = {row.group for row in rows["train"] + rows["dev"]}
    assert not trained & {row.group for row in rows["test"]}
    assert stage.report(dataset)["slices"] == {"synonyms": 2, "reworded": 1}


def test_general_rows_are_mixed_into_training_only(stage: Stage, tmp_path: Path) -> None:
    dataset = stage(write_csv(tmp_path / "a.csv", forum()), mix={"general": "33%"})
    accounted(stage, dataset)
    rows = stage.rows(dataset)
    assert dataset.mixed == round(0.33 / 0.67 * dataset.splits["train"])
    assert len(rows["train"]) == dataset.splits["train"] + dataset.mixed
    assert {row.origin for row in rows["dev"] + rows["test"]} == {"own"}


def test_rows_left_out_show_no_personal_data_either(stage: Stage, tmp_path: Path) -> None:
    rows = [*forum(), ["", "打13812345678找谁？", "", "1"], ["", "又是谁？", "我的1", "0"]]
    dataset = stage(write_csv(tmp_path / "a.csv", rows))
    assert "13812345678" not in stage.page(dataset, "dropped.jsonl") + stage.page(dataset)
    assert [row["text"] for row in stage.dropped(dataset)] == ["打〔手机号〕找谁？", "又是谁？"]
    kept = stage(tmp_path / "a.csv", checks={"personal": "keep"})
    assert "13812345678" in stage.page(kept, "dropped.jsonl")


def test_long_rows_are_left_out_never_cut(stage: Stage, tmp_path: Path) -> None:
    rows = [*forum(), ["", "长问题", "很长" * 300, "1"]]
    dataset = stage(write_csv(tmp_path / "a.csv", rows))
    assert dataset.rows["dropped"] == {"longer than the context": 1}
    assert dataset.tokens["max"] <= 256
    short = stage(tmp_path / "a.csv", max_tokens=dataset.tokens["p50"] - 1)
    assert short.rows["dropped"]["longer than the context"] >= 2
    assert re.match(r"\d+ tokens: 长问题", stage.dropped(dataset)[0]["text"])


def test_more_tokens_than_the_base_can_hold_are_refused(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'max_tokens': 300 is more than .* context of 256"):
        stage(write_csv(tmp_path / "a.csv", forum()), max_tokens=300)


def test_a_row_that_the_template_refuses_spoils_no_other(
    stage: Stage, tmp_path: Path, tiny_base: Path
) -> None:
    strict = tmp_path / "strict"
    shutil.copytree(tiny_base, strict)
    template = (tiny_base / "chat_template.jinja").read_text(encoding="utf-8")
    refusal = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    (strict / "chat_template.jinja").write_text(refusal + template, encoding="utf-8")
    path = tmp_path / "a.jsonl"
    lines = [{"system": "S" * (n == 7), "query": f"q{n}", "reply": f"r{n}"} for n in range(30)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    dataset = Stage(stage.store, strict)(path)
    assert dataset.rows["dropped"] == {"refused by the chat template": 1}
    assert "no system" in stage.dropped(dataset)[0]["text"]


def test_token_counts_are_those_of_the_renderer(stage: Stage, tmp_path: Path) -> None:
    dataset = stage(write_csv(tmp_path / "a.csv", forum()))
    tokens, report = dataset.tokens, stage.report(dataset)
    assert 0 < tokens["p5"] <= tokens["p50"] <= tokens["p95"] <= tokens["max"]
    assert 0 < tokens["supervised"] < tokens["total"]
    assert sum(entry["rows"] for entry in report["tokens"]["histogram"]) == dataset.rows["kept"]
    pieces = report["examples"][0]["parts"][0]["pieces"]
    learned = "".join(text for text, marked in pieces if marked)
    assert re.fullmatch(r"第\d+条说的是押金。<\|im_end\|>", learned)
    assert "".join(text for text, _ in pieces).startswith("<|im_start|>user\n第")


def test_several_files_and_formats_together(stage: Stage, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv", forum(20))
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"m{n}"},
                {"role": "assistant", "content": f"x{n}"},
            ]
        }
        for n in range(20)
    ]
    talk = tmp_path / "b.jsonl"
    talk.write_text("\n".join(json.dumps(line) for line in [*lines, lines[0]]), encoding="utf-8")
    alpaca = tmp_path / "c.json"
    alpaca.write_text(
        json.dumps([{"instruction": f"i{n}", "input": "", "output": f"y{n}"} for n in range(20)]),
        encoding="utf-8",
    )
    dataset = stage(table, talk, alpaca, system="你是法律顾问。")
    accounted(stage, dataset)
    assert (dataset.rows["read"], dataset.rows["kept"]) == (61, 60)
    assert dataset.files == ("a.csv", "b.jsonl", "c.json")
    first = stage.rows(dataset)["train"][0].conversation.messages
    assert [message.role for message in first] == ["system", "user", "assistant"]


def test_one_row_is_enough_to_train_on(stage: Stage, tmp_path: Path) -> None:
    dataset = stage(write_csv(tmp_path / "one.csv", forum(1)))
    assert dataset.splits == {"train": 1, "dev": 0, "test": 0}
    assert stage.report(dataset)["warnings"][0]["kind"] == "few questions"
    assert "nothing can be measured" in stage.page(dataset)


def test_nothing_left_says_why(stage: Stage, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [["", "q", "", "1"], ["", "", "a", "1"]])
    with pytest.raises(DataError, match="no row is left to train on: 1 × empty answer; 1 × empty"):
        stage(path)
    with pytest.raises(DataError, match="40 × does not match --where"):
        stage(write_csv(tmp_path / "b.csv", forum()), where={"is_best": "7"})
    assert stage.store.list(Dataset) == []
    assert not list(stage.store.home.glob("datasets/*"))


def test_where_takes_any_spelling_of_yes_and_knows_its_columns(
    stage: Stage, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    lines = [{"query": f"q{n}", "reply": "r", "good": n % 2 == 0} for n in range(30)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    assert stage(path, where={"GOOD": "1"}).rows["dropped"] == {"does not match --where": 15}
    with pytest.raises(DataError, match="there is no column 'nice'") as caught:
        stage(path, where={"nice": "1"})
    assert "query, reply, good" in caught.value.hint


def test_names_are_checked(stage: Stage, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "latest.csv", forum())
    assert stage(path).name == "data-latest"
    assert stage(path, name="法律-v1.2").name == "法律-v1.2"
    for name in ("latest", "ds_0123", "a b", "", "../x"):
        with pytest.raises(ConfigError, match="cannot be a dataset's name"):
            stage(path, name=name)


def test_preview_tells_the_mapping_and_writes_nothing(stage: Stage, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", forum())
    preview(stage.config(path), stage.store, stage.events.append)
    text = "\n".join(event.data["text"] for event in stage.events)
    assert "question=question" in text
    assert "第0条规定说的是什么？" in text
    assert not stage.store.home.exists()


def test_held_topics_are_nowhere_in_training(stage: Stage, tmp_path: Path) -> None:
    """Also where a near-equal question stands under another topic."""
    lines = [f"question {n} about {n % 8}?,answer {n * 7},topic {n % 8}" for n in range(160)]
    lines += [f"Question {n} about {n % 8}？,another {n},topic other" for n in range(16)]
    file = tmp_path / "topics.csv"
    file.write_text("\n".join(["question,answer,topic", *lines]), encoding="utf-8")
    options = {"split": {"topics": 0.2, "test": 0.1}, "checks": {"contradictions": "all"}}
    dataset = stage(file, **options)
    rows = stage.rows(dataset)
    topics = {split: {row.slice for row in found} for split, found in rows.items()}
    held = topics["test"] - topics["train"]
    assert held
    assert not held & topics["dev"]
    assert sum(row.slice in held for row in rows["test"]) >= 20 * len(held - {"topic other"})
    groups = {split: {row.group for row in found} for split, found in rows.items()}
    assert not groups["test"] & (groups["train"] | groups["dev"])
    assert dataset.config["split"]["topics"] == 0.2
    with pytest.raises(DataError, match="rows name 0 topics"):
        stage(write_csv(tmp_path / "plain.csv", forum()), split={"topics": 0.2})


def test_phrases_of_a_row_come_along(stage: Stage, tmp_path: Path) -> None:
    rows = [
        {
            "question": f"第{n}条规定什么？",
            "answer": f"规定押金{n}元。",
            "required": [f"{n}元", "押金"],
        }
        for n in range(12)
    ]
    rows[3] |= {"forbidden": "保证胜诉；一定赢 | 包赢", "required": "true"}
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    file.write_text("\n".join(lines), encoding="utf-8")
    kept = {row.source.row: row for found in stage.rows(stage(file)).values() for row in found}
    assert len(kept) == 12
    assert kept[1].required == ("0元", "押金")
    assert (kept[4].required, kept[4].forbidden) == ((), ("保证胜诉", "一定赢", "包赢"))
    assert kept[5].forbidden == ()
