"""Judges over real HTTP: fair ones, biased ones, muddled ones, ones that die."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.evaluation.judging.conftest import Bench, Shown, asked_of, fair, verdict

from tunewright.config.evaluation import EvaluateConfig
from tunewright.config.judging import JudgeConfig
from tunewright.core.errors import ConfigError, EndpointError
from tunewright.core.events import Event, Listener, ignore
from tunewright.core.store import Store
from tunewright.evaluation.asked import ALL, Asked
from tunewright.evaluation.judgements import agreements, panel_json
from tunewright.evaluation.judging.panel import judged, require_judges, with_verdicts
from tunewright.evaluation.judging.verdicts import Panel, reliability
from tunewright.evaluation.page_judging import judging_part
from tunewright.evaluation.results import Results, gather
from tunewright.evaluation.texts import Texts

GOOD, MIDDLING, BAD = "六个月，应当书面约定", "六个月", "不知道"


def config(*benches: Bench, **more: Any) -> JudgeConfig:
    limits = {"concurrency": 2, "retries": 0}
    return JudgeConfig.build(
        {"models": [one.reference for one in benches], "limits": limits, **more}
    )


def sit(
    judge: JudgeConfig, asked: Asked, store: Store, listen: Listener = ignore
) -> tuple[Panel, Results]:
    panel = judged(judge, asked, store, 8, listen)
    assert panel is not None
    everybody = EvaluateConfig(
        dataset="ds", models=tuple(asked.answers), bootstrap=500, judge=judge
    )
    test = with_verdicts(asked, panel, judge)
    results = gather(everybody, test, None, Asked(()))
    return panel, Results(**{**vars(results), "panel": panel})


def test_a_fair_judge_prefers_what_is_closer_to_the_reference(store: Store, bench: Bench) -> None:
    asked = asked_of(base=[BAD] * 12 + [GOOD] * 4, tuned=[GOOD] * 12 + [MIDDLING] * 2 + [GOOD] * 2)
    events: list[Event] = []
    judge = config(bench, price={"input": 2.0, "output": 8.0})
    panel, results = sit(judge, asked, store, events.append)
    seen = results.comparisons["tuned"]["judge"][ALL]
    assert (seen.wins, seen.ties, seen.losses) == (12, 2, 2)
    assert seen.baseline == 0.5
    assert seen.score == pytest.approx((12 + 1) / 16)
    assert seen.groups == 8
    assert seen.p == pytest.approx(2 * (7 + 1) / 2**7)  # six groups won, one lost, one even
    trust = reliability(panel.sittings[0].verdicts["tuned"])
    assert (trust.pairs, trust.same, trust.unreadable, trust.flips) == (14, 2, 0, 0.0)
    assert trust.first == 0.5
    assert len(bench.requests) == 28
    spent = panel.sittings[0].spent
    assert (spent.requests, spent.now, spent.prompt_tokens, spent.completion_tokens) == (
        28, 28, 2800, 280,
    )  # fmt: skip
    assert spent.money == pytest.approx((2800 * 2 + 280 * 8) / 1e6)
    before, after, outcome = (event.data["text"] for event in events if event.kind == "note")
    assert "28 requests to send (16 pairs in both orders, 2 of equal answers" in before
    assert "at the given prices" in before
    assert "28 requests sent" in after
    assert "tuned: 12 better, 2 as good, 2 worse, 0 without a verdict; 0% changed" in outcome
    assert [e.data["done"] for e in events if e.kind == "progress"] == list(range(1, 29))
    form = bench.requests[0]["response_format"]["json_schema"]["schema"]
    assert form["properties"]["verdict"]["enum"] == ["A", "B", "tie"]


def test_one_that_always_takes_the_first_decides_nothing(store: Store, bench: Bench) -> None:
    bench.rule = lambda shown, number: verdict("A")
    panel, results = sit(config(bench), asked_of(base=[BAD] * 10, tuned=[GOOD] * 10), store)
    seen = results.comparisons["tuned"]["judge"][ALL]
    assert (seen.wins, seen.ties, seen.losses, seen.delta) == (0, 10, 0, 0.0)
    trust = reliability(panel.sittings[0].verdicts["tuned"])
    assert (trust.flips, trust.first) == (1.0, 1.0)
    part = judging_part(results, Texts("en"))
    assert part is not None
    assert any("100%" in note and "shown first" in note for note in part.notes)


def test_rubbish_is_asked_once_more_and_then_left_out(store: Store, bench: Bench) -> None:
    def muddled(shown: Shown, number: int) -> str:
        if "3?" in shown["问题"]:
            return "I would rather talk about the weather."
        last = bench.requests[-1]["messages"][-1]["content"]
        return fair(shown, number) if last.startswith("请只回复") or number % 3 else "嗯……"

    bench.rule = muddled
    panel, results = sit(config(bench), asked_of(base=[BAD] * 6, tuned=[GOOD] * 6), store)
    seen = results.comparisons["tuned"]["judge"][ALL]
    assert (seen.questions, seen.wins) == (5, 5)
    trust = reliability(panel.sittings[0].verdicts["tuned"])
    assert (trust.pairs, trust.unreadable) == (6, 1)
    assert panel.sittings[0].spent.requests == len(bench.requests) > 14
    again = [r for r in bench.requests if len(r["messages"]) == 4]
    assert again
    assert all(r["messages"][2]["role"] == "assistant" for r in again)
    # What could not be read was paid for as well: it is not asked for again.
    count = len(bench.requests)
    sit(config(bench), asked_of(base=[BAD] * 6, tuned=[GOOD] * 6), store)
    assert len(bench.requests) == count


def test_one_that_dies_midway_is_asked_only_for_the_rest(store: Store, bench: Bench) -> None:
    asked = asked_of(base=[BAD] * 10, tuned=[GOOD] * 10)
    bench.rule = lambda shown, number: fair(shown, number) if number <= 7 else None
    with pytest.raises(EndpointError, match=r"gave no verdict on 13 of 20.*"):
        sit(config(bench), asked, store)
    assert len(bench.requests) < 20
    bench.requests.clear()
    bench.rule = fair
    panel, results = sit(config(bench), asked, store)
    assert len(bench.requests) == 13
    assert results.comparisons["tuned"]["judge"][ALL].wins == 10
    spent = panel.sittings[0].spent
    assert (spent.requests, spent.now) == (20, 13)


def test_a_pair_that_is_refused_for_good_holds_up_nobody(store: Store, bench: Bench) -> None:
    bench.rule = lambda shown, number: 400 if "4?" in shown["问题"] else fair(shown, number)
    asked = asked_of(base=[BAD] * 8, tuned=[GOOD] * 8)
    panel, results = sit(config(bench), asked, store)
    assert results.comparisons["tuned"]["judge"][ALL].wins == 7
    assert reliability(panel.sittings[0].verdicts["tuned"]).unreadable == 1
    assert panel.sittings[0].spent.requests == 14
    # One that refuses everybody is no judge.
    bench.rule = lambda shown, number: 400
    with pytest.raises(EndpointError, match="content filter"):
        sit(config(bench, language="en"), asked, store)


def test_a_redrawn_rubric_or_a_new_answer_is_judged_anew(store: Store, bench: Bench) -> None:
    sit(config(bench), asked_of(base=[BAD] * 4, tuned=[GOOD] * 4), store)
    bench.requests.clear()
    sit(config(bench), asked_of(base=[BAD] * 4, tuned=[GOOD] * 3 + [MIDDLING]), store)
    # Questions have their own words, so only the one with another answer is new.
    assert len(bench.requests) == 2
    bench.requests.clear()
    sit(config(bench, language="en"), asked_of(base=[BAD] * 4, tuned=[GOOD] * 4), store)
    assert len(bench.requests) == 8


def test_two_judges_and_how_far_they_agree(store: Store, bench: Bench, second_bench: Bench) -> None:
    def contrary(shown: Shown, number: int) -> str:
        said = fair(shown, number)
        swapped = {"A": verdict("B"), "B": verdict("A")}
        odd = int(shown["问题"].split()[-1].rstrip("?")) % 4 == 0
        return swapped["A" if '"A"' in said else "B"] if odd else said

    second_bench.rule = contrary
    asked = asked_of(base=[BAD, GOOD] * 8, tuned=[GOOD, BAD] * 8)
    panel, results = sit(config(bench, second_bench), asked, store)
    assert [sitting.metric for sitting in panel.sittings] == ["judge", "judge_2"]
    assert results.comparisons["tuned"]["judge_2"][ALL].wins == 4
    (agreed,) = agreements(panel, "tuned")
    assert (agreed.questions, agreed.share) == (16, 0.75)
    # By chance: 8/16 · 4/16 + 8/16 · 12/16 = 1/2, so kappa is (0.75 − 0.5) / 0.5.
    assert agreed.kappa == pytest.approx(0.5)
    facts = panel_json(results)
    assert [one["metric"] for one in facts["judges"]] == ["judge", "judge_2"]
    assert facts["judges"][0]["models"]["tuned"]["preferred"] == 0.5
    assert len(facts["rubric_sha256"]) == 64
    part = judging_part(results, Texts("zh"))
    assert part is not None
    assert len(part.rows) == 2
    assert any("κ = 0.50" in note for note in part.notes)


def test_what_cannot_be_judged_is_refused_before_anybody_is_asked(store: Store) -> None:
    one = JudgeConfig(models=("m@http://127.0.0.1:9/v1",))
    with pytest.raises(ConfigError, match="only one"):
        require_judges(one, ["nano"], store, 8)
    with pytest.raises(ConfigError, match="not MODEL@URL"):
        require_judges(JudgeConfig(models=("http://127.0.0.1:9/v1",)), ["a", "b"], store, 8)
    with pytest.raises(ConfigError, match="cannot be read"):
        require_judges(one.model_copy(update={"rubric": "nowhere"}), ["a", "b"], store, 8)
    with pytest.raises(ValidationError, match="named twice"):
        JudgeConfig(models=("m@http://h/v1", "m@http://h/v1"))
