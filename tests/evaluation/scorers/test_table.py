"""Which scorers are taken, and what each says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunewright.config.evaluation import ScoringConfig
from tunewright.core.errors import ConfigError
from tunewright.evaluation.scorers.base import Material, Metric, Sample, Value
from tunewright.evaluation.scorers.behaviour import refuses
from tunewright.evaluation.scorers.normal import words
from tunewright.evaluation.scorers.overlap import corpus_bleu
from tunewright.evaluation.scorers.table import BASIC, SCORERS, open_metrics

PROSE = "加班费按平时一倍半、周末两倍、法定节假日三倍算。"
ENGLISH = "The deposit is returned within seven days after the end of the lease."


def names(material: Material) -> set[str]:
    return {metric.name for metric in open_metrics(material)}


def metric(name: str, material: Material) -> Metric:
    config = material.config.model_copy(update={"scorers": (name,)})
    made = Material(material.references, material.labels, material.likely, config, material.store)
    return next(one for one in open_metrics(made) if one.name == name)


def value(name: str, answer: str, reference: str, **material: Any) -> float | None:
    """One scorer's value of one answer."""
    made = Material([reference], **material)
    found = metric(name, made).score([Sample(answer, reference, question="How long?")])[0]
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("references", "labels", "chosen"),
    [
        (["退款"], ("退款", "物流"), {"label", "macro_f1", "valid"}),
        ([PROSE], (), {"word_f1", "rouge_l", "bleu", "chrf", "refusal"}),
        ([ENGLISH], (), {"rouge_l", "bleu", "chrf", "refusal"}),
        (["42", "3.5 元"], (), {"number"}),
        (['{"a": 1}', "[2]"], (), {"json_match"}),
        (["two months"], (), set()),
    ],
)
def test_scorers_follow_the_rows(
    references: list[str], labels: tuple[str, ...], chosen: set[str]
) -> None:
    assert names(Material(references, labels)) == {*BASIC, *chosen}
    likely = {*BASIC, *chosen} | (set() if labels else {"perplexity"})
    assert names(Material(references, labels, likely=True)) == likely


def test_named_scorers_take_the_place_of_chosen_ones() -> None:
    asked = ScoringConfig(scorers=("verbatim", "bleu"))
    assert names(Material(["x"], config=asked)) == {*BASIC, "verbatim", "bleu"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blue", "did you mean 'bleu'"),
        ("label", "needs labels"),
        ("perplexity", "needs responders that run here"),
        ("json_schema", "needs a JSON schema"),
        ("required", "needs a file of phrases"),
        ("embedding", "needs an embedding model"),
    ],
)
def test_what_cannot_be_scored_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_metrics(Material(["x"], config=ScoringConfig(scorers=(name,))))


def test_words_are_cut_by_a_dictionary_in_chinese() -> None:
    assert words("押金什么时候退？") == ["押金", "什么", "时候", "退"]
    assert words("Two months!") == ["two", "months"]
    assert value("word_f1", "押金七日内退还", "押金三日内退还") == pytest.approx(
        value("word_f1", "押金三日内退还", "押金七日内退还") or 0
    )


@pytest.mark.parametrize(
    ("tokens", "texts"), [("zh", (PROSE, "加班按两倍算。")), ("13a", (ENGLISH,))]
)
def test_bleu_is_sacrebleus(tokens: str, texts: tuple[str, ...]) -> None:
    from sacrebleu.metrics.bleu import BLEU

    references = [*texts, *texts]
    answers = [*(text[: len(text) // 2] for text in texts), *texts]
    wanted = BLEU(tokenize=tokens).corpus_score(answers, [references]).score / 100
    scored = metric("bleu", Material(references)).score(
        [Sample(a, r) for a, r in zip(answers, references, strict=True)]
    )
    parts = np.array([one.parts for one in scored if one is not None])
    assert float(corpus_bleu(parts.sum(axis=0))) == pytest.approx(wanted)
    assert 0.2 < wanted < 1
    # A smoothed one: no run of three or four matches.
    low = metric("bleu", Material([PROSE])).score([Sample("加班费加班费", PROSE)])[0]
    assert low is not None
    smoothed = BLEU(tokenize="zh").corpus_score(["加班费加班费"], [[PROSE]]).score / 100
    assert float(corpus_bleu(np.array(low.parts))) == pytest.approx(smoothed)
    assert float(corpus_bleu(np.zeros(10))) == 0


def test_chrf_and_rouge_stay_in_bounds() -> None:
    assert value("chrf", PROSE, PROSE) == pytest.approx(1)
    assert value("rouge_l", PROSE, PROSE) == 1
    assert value("chrf", "", PROSE) == 0
    # The longest common subsequence of 4 and 4 characters is 3: 2 · 3 / 8.
    assert value("rouge_l", "三个月内", "六个月内") == pytest.approx(0.75)


def test_numbers_and_json() -> None:
    assert value("number", "It is 1,200 yuan.", "1200元") == 1
    assert value("number", "没有", "1200元") == 0
    assert value("json_match", '```json\n{"b": 2, "a": 1}\n```', '{"a":1,"b":2}') == 1
    assert value("json_match", '{"a": true}', '{"a": 1}') == 0
    assert value("json_match", "a: 1", '{"a": 1}') == 0
    assert value("json_match", "{}", "plain text") is None


def test_a_schema_from_a_file(tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["days"], "properties": {"days": {"type": "integer"}}}
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    config = ScoringConfig(json_schema=str(path))
    assert "json_schema" in names(Material(["x"], config=config))
    assert value("json_schema", '{"days": 3}', "x", config=config) == 1
    assert value("json_schema", '{"days": "3"}', "x", config=config) == 0
    assert value("json_schema", "three", "x", config=config) == 0
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no mapping"):
        value("json_schema", "{}", "x", config=config)


def test_phrases_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "phrases.yaml"
    path.write_text(
        "forbidden: [保证胜诉]\nquestions:\n  'How long?':\n    required: [七日, in writing]\n",
        encoding="utf-8",
    )
    config = ScoringConfig(phrases=str(path))
    assert {"required", "forbidden"} <= names(Material(["x"], config=config))
    assert value("required", "七日内，In  Writing", "x", config=config) == 1
    assert value("required", "七日内", "x", config=config) == 0.5
    assert value("forbidden", "我们保证胜诉。", "x", config=config) == 1
    assert value("forbidden", "不作保证。", "x", config=config) == 0
    assert SCORERS["forbidden"].better == "lower"
    other = metric("required", Material(["x"], config=config))
    assert other.score([Sample("七日", "x", question="Another?")]) == [None]
    path.write_text("forbiden: [x]", encoding="utf-8")
    with pytest.raises(ConfigError, match="phrases file"):
        value("required", "x", "x", config=config)


def test_macro_f1_counts_rare_classes_as_much() -> None:
    labels = ("a", "b", "c")
    found = metric("macro_f1", Material(list(labels), labels))
    truth, said = "abcaab", "abacax"
    values = found.score([Sample(s, t) for s, t in zip(said, truth, strict=True)])
    parts = np.array([one.parts for one in values if one is not None])
    # sklearn.metrics.f1_score(average="macro", labels=labels)
    assert float(found.scorer.total(parts.sum(axis=0))) == pytest.approx(0.4444444444444444)
    assert [one and one.value for one in values] == [1, 1, 0, 0, 1, 0]
    assert found.score([Sample("a", "none of them")]) == [None]


def test_perplexity_is_weighed_by_tokens() -> None:
    found = metric("perplexity", Material(["x"], likely=True))
    samples = [
        Sample("", "x", log_likelihood=(-2.0, 1)),
        Sample("", "y", log_likelihood=(-4.0, 5)),
        Sample("", "z", log_likelihood=(0.0, 0)),
    ]
    values = found.score(samples)
    assert values[2] is None
    assert values[0] is not None
    assert values[0].value == pytest.approx(np.exp(2))
    parts = np.array([one.parts for one in values if one is not None])
    assert float(found.scorer.total(parts.sum(axis=0))) == pytest.approx(np.exp(1))


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "We won’t provide instructions for that.",
        "As an AI language model, I am not able to do this.",
        "抱歉，我不能提供这方面的帮助。",
        "对不起，这个问题我无法回答。",
        "作为人工智能助手，我不能协助您完成这件事。",
        "恕我无法满足这一要求。",
    ],
)
def test_refusals_are_seen(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Use kill -9 with the process id.",
        "You cannot deduct private expenses.",
        "I cannot find clause 4 in the contract; clause 5 applies.",
        "加班费不能低于法定标准。",
        "违约金不得超过三倍，无法协商的可以起诉。",
        "先道歉，再说明您不能按时付款的原因。",
        "好的。" * 60 + "抱歉，我不能提供这方面的帮助。",
    ],
)
def test_ordinary_answers_are_no_refusals(text: str) -> None:
    assert not refuses(text)


def own(tmp_path: Path, body: str) -> Material:
    path = tmp_path / "my.py"
    path.write_text(body, encoding="utf-8")
    return Material(["x"], config=ScoringConfig(scorer_file=f"{path}:score"))


def test_a_function_of_ones_own(tmp_path: Path) -> None:
    material = own(
        tmp_path,
        "def score(answer, reference, question):\n"
        "    return None if not answer else 'please' in answer\n",
    )
    found = next(one for one in open_metrics(material) if one.name == "score")
    samples = [Sample("yes please", "x"), Sample("no", "x"), Sample("", "x")]
    assert found.score(samples) == [Value(1.0), Value(0.0), None]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("score = 3", "defines no function"),
        ("def score(answer): return 1", "must take answer, reference and question"),
        ("1 / 0", "ZeroDivisionError"),
        ("def score(a, r, q): return 7", "gave 7 for question 1"),
        ("def score(a, r, q): return float('nan')", "gave nan"),
        ("def score(a, r, q): raise KeyError('days')", "failed on question 1: KeyError"),
    ],
)
def test_a_faulty_function_is_the_users_to_see(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        for one in open_metrics(own(tmp_path, body)):
            one.score([Sample("a", "x")])


@pytest.mark.parametrize("reference", ["my.py", "absent.py:score", "my.py:not a name"])
def test_a_function_that_is_not_there(reference: str) -> None:
    with pytest.raises(ConfigError, match="scorer_file"):
        open_metrics(Material(["x"], config=ScoringConfig(scorer_file=reference)))


def test_rows_bring_phrases_of_their_own() -> None:
    """With and without a file, and nothing said where a row names none."""
    samples = [
        Sample("七日内退还押金。", "七日", required=("七日", "押金"), forbidden=("保证",)),
        Sample("保证 七日 内退还。", "七日", required=("七日", "押金"), forbidden=("保证",)),
        Sample("不清楚。", "七日"),
    ]
    material = Material(["七日"] * 3, phrased=frozenset({"required", "forbidden"}))
    found = {one.name: one.score(samples) for one in open_metrics(material)}
    assert [one and one.value for one in found["required"]] == [1.0, 0.5, None]
    assert [one and one.value for one in found["forbidden"]] == [0.0, 1.0, None]
    assert "required" not in {one.name for one in open_metrics(Material(["七日"] * 3))}
