"""Runs side by side: what differs, which is best and when nobody can say, and the page."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.curves import thinned
from tunewright.core.errors import InputError, NotFoundError
from tunewright.core.events import Event, EventLog
from tunewright.core.language import LANGUAGES
from tunewright.core.records import Run
from tunewright.core.store import Store
from tunewright.training.charts import Scale, overlay, sparkline
from tunewright.training.comparison import compare, page
from tunewright.training.texts import SENTENCES, Texts


def add_run(
    store: Store,
    losses: list[float],
    validations: dict[int, float],
    state: str = "succeeded",
    **config: Any,
) -> Run:
    """A run as training would leave it."""
    dataset = config.pop("dataset", "ds_000000000001")
    run = Run(
        id=store.new_id(Run),
        dataset=dataset,
        base="nano",
        config={"method": "sft", "seed": 0, "lora": {"rank": 8, "targets": ["q"]}, **config},
        state=state,  # type: ignore[arg-type]
        summary={"tokens_per_second": 1234.5, "peak_memory_bytes": 10**9},
    )
    log = EventLog(store.open_folder(Run, run.id) / "events.jsonl")
    for step, loss in enumerate(losses, start=1):
        data = {"step": step, "steps": len(losses), "loss": loss, "tokens": 100 * step}
        log.append(Event(kind="step", data={**data, "tokens_per_second": 1000.0}))
        if step in validations:
            metrics = {"token_accuracy": 0.5}
            found = {"step": step, "loss": validations[step], "metrics": metrics}
            log.append(Event(kind="validation", data=found))
    store.add(run)
    return run


@pytest.fixture
def two(store: Store) -> tuple[Run, Run]:
    first = add_run(store, [4.0, 3.0, 2.0, 1.0], {2: 2.5, 4: 2.0})
    second = add_run(store, [4.0, 2.0], {2: 1.5}, lora={"rank": 16, "targets": ["q"]}, seed=3)
    return first, second


def test_only_what_differs_is_shown_and_the_best_is_named(
    store: Store, two: tuple[Run, Run]
) -> None:
    found = compare(store, [run.id for run in two])
    assert found.settings == {"lora.rank": [8, 16], "seed": [0, 3]}
    assert found.best is not None
    assert found.best.run.id == two[1].id
    assert found.sentence(Texts("en")).endswith("1.5000 at step 2.")
    assert found.sentence(Texts("zh")) == f"验证损失最低的是 {two[1].id}：第 2 步，1.5000。"
    facts = found.courses[0].facts
    assert (facts["steps"], facts["planned_steps"]) == (4, 4)
    assert (facts["valid_loss"], facts["best_loss"], facts["best_step"]) == (2.0, 2.0, 4)
    # Smoothed with Adam's correction: the first mean is the first loss.
    assert found.courses[0].train[0] == (1, pytest.approx(4.0))
    assert found.courses[0].train[1][1] == pytest.approx((0.09 * 4 + 0.1 * 3) / 0.19)
    json.dumps(found.data(), allow_nan=False)


def test_losses_of_other_data_or_methods_prove_nothing(store: Store) -> None:
    plain = add_run(store, [2.0], {1: 1.0})
    elsewhere = add_run(store, [2.0], {1: 0.5}, dataset="ds_000000000002")
    paired = add_run(store, [0.7], {1: 0.1}, method="dpo")
    unwatched = add_run(store, [2.0], {})
    for other, key in ((elsewhere, "compare.apart"), (paired, "compare.methods")):
        found = compare(store, [plain.id, other.id])
        assert found.best is None
        assert found.sentence(Texts("en")) == SENTENCES[key][0]
    assert compare(store, [plain.id, unwatched.id]).best is not None
    again = add_run(store, [2.0], {})
    assert compare(store, [unwatched.id, again.id]).caveat == "compare.unwatched"


def test_a_run_that_lost_its_process_is_interrupted(store: Store) -> None:
    lost = add_run(store, [2.0], {}, state="running")
    empty = add_run(store, [], {}, state="failed")
    found = compare(store, [lost.id, empty.id])
    assert [course.state for course in found.courses] == ["interrupted", "failed"]
    assert found.courses[1].facts["train_loss"] is None


def test_too_few_too_many_and_unknown_runs_are_refused(store: Store) -> None:
    run = add_run(store, [1.0], {})
    with pytest.raises(InputError, match="two to 8 different runs"):
        compare(store, [run.id, "latest"])
    with pytest.raises(NotFoundError):
        compare(store, [run.id, "nowhere"])


class Page(html.parser.HTMLParser):
    """Every opened element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_stands_alone_and_is_inert(store: Store, language: str) -> None:
    first = add_run(store, [40.0, 3.0, 0.2], {3: 1.0}, suffix="<script>alert(1)</script>")
    second = add_run(store, [4.0, 2.0], {2: 1.5}, suffix="\"'>&")
    shown = Page(page(compare(store, [first.id, second.id]), Texts(language)))
    tags = [tag for tag, _ in shown.opened]
    assert "script" not in tags
    assert tags.count("svg") == 2
    assert {attributes["class"] for tag, attributes in shown.opened if tag == "path"} == {
        "s0",
        "s1",
    }
    for tag, attributes in shown.opened:
        assert not {"src", "onload", "onclick"} & attributes.keys()
        assert tag == "link" or "href" not in attributes
    assert "<script>alert(1)</script>" in shown.text
    assert ("训练任务对比" in shown.text) == (language == "zh")
    (html_tag,) = (attributes for tag, attributes in shown.opened if tag == "html")
    assert html_tag["lang"] == {"en": "en", "zh": "zh-CN"}[language]


def test_every_sentence_has_the_same_blanks_in_both_languages() -> None:
    import re

    for key, sentences in SENTENCES.items():
        blanks = [sorted(set(re.findall(r"\{(\w+)", text))) for text in sentences]
        assert blanks[0] == blanks[1], key


def test_a_sparkline_falls_and_ends_where_the_run_ended() -> None:
    long = [(step, 100.0 - step) for step in range(1, 101)]
    short = long[:50]
    scale = Scale.over([long, short])
    line = sparkline(long, scale, 10, 100)
    assert len(line) == 10
    assert line[0] == "█"
    assert line[-1] == "▁"
    assert line == "".join(sorted(line, reverse=True))
    assert sparkline(short, scale, 10, 100) == line[:5] + " " * 5
    assert sparkline([], scale, 10, 100) == " " * 10
    assert sparkline([(1, 2.0)], Scale.over([[(1, 2.0)]]), 3, 1).strip() != ""


def test_scales_turn_logarithmic_over_a_magnitude_and_hold_flat_curves() -> None:
    assert not Scale.over([[(1, 1.0), (2, 5.0)]]).logarithmic
    wide = Scale.over([[(1, 10.0), (2, 0.001)]])
    assert wide.logarithmic
    assert wide.share(0.001) == 0
    assert wide.share(10.0) == 1
    assert wide.ticks() == pytest.approx([0.001, 0.01, 0.1, 1.0, 10.0])
    assert Scale.over([[(1, 2.0)]]).share(2.0) == 0.5
    assert "NaN" not in overlay([[(1, 2.0), (2, 2.0)], []], "t", "s")
    assert thinned([(n, 0.0) for n in range(1000)], 100)[-1] == (999, 0.0)
    assert len(thinned([(n, 0.0) for n in range(1000)], 100)) <= 101


def test_the_page_is_part_of_the_package() -> None:
    from importlib.resources import files

    for name in ("compare.html.j2", "compare.css"):
        assert Path(str(files("tunewright.training"))).joinpath("templates", name).is_file()
