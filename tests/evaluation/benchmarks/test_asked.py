"""Benchmarks asked of real models: prompts, scores, what is kept, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.evaluation.benchmarks.conftest import sums, write_csv

from tunewright.cli.main import cli
from tunewright.config.benchmarks import BenchmarkConfig, BenchmarksConfig
from tunewright.config.serving import GenerationConfig
from tunewright.core.errors import ConfigError, DataError
from tunewright.core.events import Event
from tunewright.core.messages import conversation
from tunewright.core.store import Store
from tunewright.evaluation.answers import Question, answered
from tunewright.evaluation.benchmarks.asked import benchmark
from tunewright.evaluation.benchmarks.questions import Benchmark, open_benchmarks
from tunewright.evaluation.benchmarks.scores import Scores, scores_json
from tunewright.evaluation.responders.base import Said
from tunewright.evaluation.statistics.proportions import wilson
from tunewright.model.generation import TextModel


def opened(folder: Path, name: str, **knobs: object) -> Benchmark:
    config = BenchmarksConfig.build({"folders": {name: str(folder)}, **knobs})
    return open_benchmarks(config, (), False, 64)[0]


def test_prompts_are_the_published_ones_as_turns(mmlu: Path, cmmlu: Path, ceval: Path) -> None:
    first = opened(mmlu, "mmlu").questions[0]
    turns = first.prompt.messages
    assert [one.role for one in turns] == ["user", "assistant"] * 5 + ["user"]
    assert turns[0].content == (
        "The following are multiple choice questions (with answers) about abstract algebra.\n\n"
        "50 + 1 = ?\nA. 49\nB. 50\nC. 51\nD. 52\nAnswer:"
    )
    assert turns[1].content == "C"
    assert turns[-1].content == "2 + 1 = ?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"
    assert (first.reference, first.slice, first.id) == (
        "C",
        "abstract_algebra",
        "abstract_algebra/1",
    )
    bare = opened(cmmlu, "cmmlu", shots=0).questions[0]
    assert bare.prompt == conversation(
        (
            "user",
            "以下是关于农学的单项选择题，请直接给出正确答案的选项。\n\n"
            "题目：2 + 1 = ?\nA. 1\nB. 2\nC. 3\nD. 4\n答案是：",
        )
    )
    chinese = opened(ceval, "ceval", shots=1).questions[0].prompt.messages[0].content
    assert chinese.startswith(
        "以下是中国关于法学考试的单项选择题，请选出其中的正确答案。\n\n40 + 1"
    )
    assert chinese.endswith("\n答案：")


def test_examples_give_way_where_a_context_is_short(mmlu: Path) -> None:
    config = BenchmarksConfig(folders={"mmlu": str(mmlu)})

    def small(prompts: object, room: int) -> list[bool]:
        return [len(one.messages) <= 5 and "3 + 1" not in one.question for one in prompts]  # type: ignore[attr-defined]

    found = open_benchmarks(config, (small, small), False, 64)[0]
    assert {len(one.prompt.messages) for one in found.questions} == {5}
    assert found.questions[0].prompt.messages[-3].content.startswith("54 + 1")
    lead = found.questions[0].prompt.messages[0].content
    assert "abstract algebra" in lead
    assert (found.shortened, found.left_out) == (8, 2)  # 3 + 1 and 23 + 1 are too long
    with pytest.raises(DataError, match="longer than a context"):
        open_benchmarks(config, (lambda prompts, room: [False] * len(prompts),), False, 64)


def test_limits_subjects_and_unknown_names(mmlu: Path) -> None:
    assert len(opened(mmlu, "mmlu", per_subject=2).questions) == 4
    assert {q.slice for q in opened(mmlu, "mmlu", subjects=["prehistory"]).questions} == {
        "prehistory"
    }
    assert len(opened(mmlu, "mmlu", split="dev", shots=0).questions) == 10
    with pytest.raises(ConfigError, match="shown with its answer"):
        opened(mmlu, "mmlu", split="dev")
    with pytest.raises(ConfigError, match="no benchmark 'mmmu'"):
        opened(mmlu, "mmmu")


def said(letters: str) -> list[Said]:
    return [Said(letter, "stop") for letter in letters]


def made(first: str, second: str) -> Scores:
    """Six questions of two subjects, the right letter always A."""
    questions = [
        Question(f"{name}/{n}", conversation(("user", "?")), "A", name, f"{name}/{n}")
        for name in ("law", "logic")
        for n in range(3)
    ]
    how = GenerationConfig(choices=("A", "B", "C", "D"))
    categories = {"Humanities": ("law", "logic"), "STEM": ("physics",), "Law": ("law",)}
    names = {"law": "法学", "logic": "逻辑学"}
    asked = Benchmark("ceval", "C-Eval", "val", questions, categories, names, how, 5)
    return Scores(asked, {"base": said(first), "tuned": said(second)})


def test_counts_intervals_and_pairs() -> None:
    scores = made("AABBB?", "AAAAB?")
    found = scores.json()
    base = found["responders"]["base"]
    assert (base["right"], base["questions"], base["unread"]) == (2, 6, 1)
    assert tuple(base["interval"]) == wilson(2 / 6, 6)
    assert base["subjects"]["law"]["right"] == 2
    assert base["mean_of_subjects"] == pytest.approx(1 / 3)
    assert set(base["categories"]) == {"Humanities", "Law"}
    against = found["against"]["tuned"]
    assert (against["gained"], against["lost"]) == (2, 0)
    assert against["delta"] == pytest.approx(1 / 3)
    assert against["p"] == 0.5
    low, high = against["interval"]
    assert low < 0 < against["delta"] < high


def test_p_values_are_adjusted_over_all_benchmarks() -> None:
    one, other = made("BBBBBB", "AAAAAA"), made("BBBBBB", "AAAAAA")
    moved = Scores(
        Benchmark("cmmlu", "CMMLU", "test", *[getattr(other.benchmark, name) for name in
                  ("questions", "categories", "names", "how", "shots")]),
        other.said,
    )  # fmt: skip
    found = scores_json([one, moved])
    for each in found.values():
        assert each["against"]["tuned"]["p"] == pytest.approx(2 / 64)
        assert each["against"]["tuned"]["p_holm"] == pytest.approx(4 / 64)


def test_the_likeliest_letter_is_that_of_the_models_own_likelihoods(
    store: Store, tiny_base: Path, mmlu: Path
) -> None:
    config = BenchmarkConfig.build(
        {"models": [str(tiny_base)], "benchmarks": {"folders": {"mmlu": str(mmlu)}, "shots": 1}}
    )
    scores = benchmark(config, store)[0]
    model = TextModel.load(store, str(tiny_base))
    for question, letter in zip(
        scores.benchmark.questions, scores.letters[str(tiny_base)], strict=True
    ):
        rows = [answered(question.prompt, one) for one in "ABCD"]
        chances = [one.log_probability for one in model.likelihoods(rows, ends=False)]
        assert letter == "ABCD"[chances.index(max(chances))]


def test_what_was_answered_is_not_asked_again(store: Store, tiny_base: Path, mmlu: Path) -> None:
    knobs = {"folders": {"mmlu": str(mmlu)}, "shots": 1}
    config = BenchmarkConfig.build({"models": [str(tiny_base)], "benchmarks": knobs})
    events: list[Event] = []
    first = benchmark(config, store, events.append)[0]
    progress = [event.data for event in events if event.kind == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == 10
    cache = next((store.home / "cache" / "answers").iterdir())
    lines = cache.read_bytes().splitlines(keepends=True)
    assert len(lines) == 10
    cache.write_bytes(b"".join(lines[:4]) + lines[4][:9])  # a kill in the middle of the fifth
    again = benchmark(config, store)[0]
    assert again.said == first.said
    assert len(cache.read_bytes().splitlines()) == 11


def test_the_command_shows_subjects_and_gives_json(
    store: Store, tiny_base: Path, cmmlu: Path, mmlu: Path
) -> None:
    arguments = ["benchmark", str(tiny_base), "--benchmark", f"cmmlu={cmmlu}", "--benchmark"]
    arguments += [f"mmlu={mmlu}", "--shots", "0", "--per-subject", "3", "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--home", str(store.home)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])["benchmarks"]
    assert set(found) == {"cmmlu", "mmlu"}
    one = found["cmmlu"]["responders"][str(tiny_base)]
    assert one["questions"] == 6
    assert set(one["subjects"]) == {"agronomy", "chinese_history"}
    assert set(one["categories"]) == {"Other", "Humanities", "China specific"}
    assert "chinese_history" in done.stderr
    none = CliRunner().invoke(cli, ["benchmark", str(tiny_base), "--home", str(store.home)])
    assert isinstance(none.exception, ConfigError)
    assert "no benchmark is named" in none.exception.message


def test_written_answers_are_read_for_their_letter(
    store: Store, tiny_base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "written"
    write_csv(folder / "test" / "virology_test.csv", sums(3))
    knobs = {"folders": {"mmlu": str(folder)}, "shots": 0, "by": "answer"}
    config = BenchmarkConfig.build(
        {"models": [str(tiny_base)], "benchmarks": knobs, "max_new_tokens": 4}
    )
    scores = benchmark(config, store)[0]
    assert not scores.benchmark.by_letter
    name = str(tiny_base)
    assert scores.unread(name) == scores.letters[name].count(None)
    assert all(len(one.text) > 0 for one in scores.said[name])
