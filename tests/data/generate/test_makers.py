"""What is asked for: combinations of attributes, questions of datasets, and in what parts."""

from pathlib import Path
from typing import Any

import pytest

from tunewright.config.data import PrepareConfig
from tunewright.config.generation import ParaphrasesConfig, QuestionsConfig, TextsConfig
from tunewright.core.errors import ConfigError, DataError, NotFoundError
from tunewright.core.records import Dataset
from tunewright.core.store import Store
from tunewright.data.generate.paraphrases import make_paraphrases, too_close
from tunewright.data.generate.prompts import language_of
from tunewright.data.generate.questions import make_questions
from tunewright.data.generate.texts import fill, make_texts
from tunewright.data.generate.work import Work, make_asks
from tunewright.data.prepare import prepare
from tunewright.data.records import Unusable

ENDPOINT = {"endpoint": "http://127.0.0.1:9", "model": "m"}


def texts(store: Store, **values: Any) -> Work:
    return make_texts(TextsConfig.build({**ENDPOINT, **values}), store)


def attributes(work: Work) -> list[dict[str, str]]:
    rows = [item.accept({"text": "x"}) for item in work.items]
    return [{k: v for k, v in row.items() if k not in ("text", "prompt")} for row in rows]


# Texts -----------------------------------------------------------------------------------------


def test_all_combinations_are_asked_for_the_last_attribute_changing_fastest(store: Store) -> None:
    work = texts(store, attribute={"topic": "a, b，c", "style": "x,y,x"})
    assert [tuple(row.values()) for row in attributes(work)] == [
        ("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x"), ("c", "y")
    ]  # fmt: skip


def test_rows_of_a_table_are_crossed_with_attributes(store: Store, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("topic,tone\nrent,calm\nwork,\nrent,calm\n", encoding="utf-8")
    work = texts(store, table=str(table), attribute={"style": "x,y"})
    assert [tuple(row.values()) for row in attributes(work)] == [
        ("rent", "calm", "x"), ("rent", "calm", "y"), ("work", "", "x"), ("work", "", "y")
    ]  # fmt: skip
    # What a row leaves empty is not asked for.
    assert "tone" not in work.items[2].prompt(1)[1]["content"]


def test_a_limit_draws_by_the_seed(store: Store) -> None:
    numbers = {name: ",".join(map(str, range(100))) for name in "abcde"}
    drawn = attributes(texts(store, attribute=numbers, limit=20))
    assert len(drawn) == 20
    assert drawn == attributes(texts(store, attribute=numbers, limit=20))
    assert drawn != attributes(texts(store, attribute=numbers, limit=20, seed=1))
    with pytest.raises(ConfigError, match="10,000,000,000 combinations"):
        texts(store, attribute=numbers)


def test_templates_take_plain_names_and_nothing_else() -> None:
    values = (("topic", "{style} {0.__class__}"), ("风格", "正式"))
    assert fill("{{{topic}}} as { 风格 }", values) == "{{style} {0.__class__}} as 正式"
    for wrong in ("{topic.__class__}", "{topic!r}", "{topic:>9}", "{0}", "{}", "{style}", "{topic"):
        with pytest.raises(ConfigError, match="not an attribute in braces"):
            fill(wrong, values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no attributes"),
        ({"attribute": {"topic": " , "}}, "has no values"),
        ({"attribute": {"text": "a"}}, "'text' cannot be used"),
        ({"attribute": {"topic": "a"}, "template": "{tpoic}"}, "Attributes: topic"),
    ],
)
def test_attributes_that_make_no_sense_are_refused(
    values: dict[str, Any], message: str, store: Store
) -> None:
    with pytest.raises(ConfigError, match=message):
        texts(store, **values)


def test_a_torn_row_of_a_table_is_named(store: Store, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("topic,tone\nrent,calm\nwork,calm,more\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv, row 3"):
        texts(store, table=str(table))


# Questions -------------------------------------------------------------------------------------


def test_results_come_in_parts_and_equal_prompts_once(store: Store, tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("出租人应当按时交付符合约定的房屋，并保证安全。", "utf-8")
    config = QuestionsConfig.build({**ENDPOINT, "files": (str(tmp_path),), "n": 7, "per_reply": 3})
    work = make_questions(config, store)
    asks = make_asks(work, config)
    assert [(ask.count, ask.completions) for ask in asks] == [(3, 2), (1, 1)]
    assert work.skipped["duplicate"] == 2


@pytest.mark.parametrize(
    "question",
    [
        "根据上文，押金多久退？",
        "文中提到的押金多久退？",
        "本段规定了什么？",
        "According to the passage, when is it returned?",
        "What is the rule mentioned above?",
    ],
)
def test_questions_that_lean_on_the_source_are_known(
    question: str, store: Store, handbook: Path
) -> None:
    config = QuestionsConfig.build({**ENDPOINT, "files": (str(handbook),)})
    accept = make_questions(config, store).items[0].accept
    quote = "押金应当在租期结束后七日内退还"
    with pytest.raises(Unusable, match="leans on the source"):
        accept({"question": question, "answer": "七日内。", "quote": quote})
    for fine in ("根据文件规定，押金多久退？", "中文合同有效吗？", "What documents do I need?"):
        assert accept({"question": fine, "answer": "七日内。", "quote": quote})


def test_documents_without_text_are_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "short.md"
    path.write_text("# 标题\n\n略。\n", encoding="utf-8")
    config = QuestionsConfig.build({**ENDPOINT, "files": (str(path),)})
    with pytest.raises(DataError, match="no passage is long enough"):
        make_questions(config, store)


def test_languages_are_told_apart() -> None:
    assert language_of("PyTorch 的安装与使用") == "zh"
    assert language_of("How to say 你好 in a letter to a friend") == "en"
    assert language_of("3.14 ++") == "en"


# Paraphrases -----------------------------------------------------------------------------------


@pytest.fixture
def dataset(store: Store, tmp_path: Path) -> Dataset:
    path = tmp_path / "faq.csv"
    lines = [f"第{n}类合同到期之后应该怎么处理？,按第{n}条办理，并通知对方。" for n in range(20)]
    path.write_text("\n".join(["question,answer", *lines]), encoding="utf-8")
    checks = {"near_duplicates": "keep", "contradictions": "all", "boilerplate": "keep"}
    config = {"files": (str(path),), "split": {"dev": 0, "test": 0.3}, "checks": checks}
    return prepare(PrepareConfig.build(config), store)


def paraphrases(store: Store, source: str, **values: Any) -> Work:
    return make_paraphrases(
        ParaphrasesConfig.build({**ENDPOINT, "source": source, **values}), store
    )


def test_questions_of_a_split_are_taken_and_no_split_is_repeated(
    dataset: Dataset, store: Store
) -> None:
    train = paraphrases(store, "latest")
    test = paraphrases(store, dataset.name, split="test")
    assert len(train.items) == dataset.splits["train"]
    assert len(test.items) == dataset.splits["test"]
    assert train.known == test.known
    assert len(train.known) == 20
    assert train.output == "faq-paraphrases.jsonl"


def test_what_holds_no_single_questions_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no dataset 'nothing'"):
        paraphrases(store, "nothing")
    path = tmp_path / "turns.jsonl"
    turns = ("user", "a?"), ("assistant", "b."), ("user", "c?"), ("assistant", "d.")
    messages = ", ".join(f'{{"role": "{role}", "content": "{text}"}}' for role, text in turns)
    path.write_text(f'{{"messages": [{messages}]}}\n', encoding="utf-8")
    with pytest.raises(DataError, match="no single question"):
        paraphrases(store, str(path))


@pytest.mark.parametrize(
    ("paraphrase", "close"),
    [
        ("加班费怎么算", True),
        ("请问加班费怎么算呢？", True),
        ("公司周末让我回去干活，加班费怎么算？", False),
        ("晚上干活的报酬是什么标准？", False),
    ],
)
def test_other_words_are_really_other_words(paraphrase: str, close: bool) -> None:
    assert too_close(paraphrase, "加班费怎么算？") is close
