"""How many really different questions there are, and whether that is enough."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tunewright.data.checks.base import Check, Context, Corpus, Finding, Level, Outcome
from tunewright.data.checks.clusters import clusters
from tunewright.data.checks.likeness import cluster_histogram, show
from tunewright.data.hashing import Places, codes_of, distinct, window_hashes
from tunewright.data.keys import near_keys

_SAMPLE = 20_000
_NEAR = 0.6
_GRAM = 4
_GRAM_ROWS = 2_000
_CUT = 200
_LUMP = 0.2
# From how many clusters on: what to expect, after the guides of OpenAI and others.
_ADVICE: tuple[tuple[int, Level, Mapping[str, str]], ...] = (
    (
        1000,
        "info",
        {
            "en": "That is plenty for most tasks; from here on, better rows help more than "
            "more rows.",
            "zh": "对多数任务已经充足；再往后，提高质量比增加数量更有用。",
        },
    ),
    (
        500,
        "info",
        {
            "en": "That is enough for a clear effect (500 to 1,000 are usual).",
            "zh": "足以看到明显效果（通常需要 500–1000 个）。",
        },
    ),
    (
        100,
        "info",
        {
            "en": "That is enough to start; the effect is usually clear from 500 to 1,000 on.",
            "zh": "可以开始了；一般到 500–1000 个时效果才明显。",
        },
    ),
    (
        50,
        "info",
        {
            "en": "That is just enough to try (50 to 100 are the least); aim for 500 to 1,000.",
            "zh": "刚够试一试（至少 50–100 个）；建议补充到 500–1000 个。",
        },
    ),
    (
        0,
        "care",
        {
            "en": "That is too few to expect much: 50 to 100 are the least, 500 to 1,000 show "
            "a clear effect. Rewordings of the same questions do not count.",
            "zh": "太少了，难有效果：至少需要 50–100 个，500–1000 个才有明显效果；"
            "同一问题换个说法不算新问题。",
        },
    ),
)


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    rows = len(corpus.drafts)
    if not rows:
        return Outcome()
    sample = _spread(rows, _SAMPLE)
    found = clusters(corpus.question_keys.gather(sample), _NEAR)
    sizes = np.bincount(found.first)
    count, largest = int((sizes > 0).sum()), int(sizes.max())
    level, advice = next((level, words) for least, level, words in _ADVICE if count >= least)
    lumped = largest > _LUMP * sample.size and largest > 1
    members = np.flatnonzero(found.first == sizes.argmax()).tolist() if largest > 1 else []
    finding = Finding(
        check="diversity",
        rows=rows,
        level="care" if lumped else level,
        action=action,
        facts={
            "rows": rows,
            "sampled": int(sample.size),
            "clusters": count,
            "largest": largest / sample.size,
            "distinct": _distinct_grams(corpus),
            **{f"advice_{language}": text for language, text in advice.items()},
        },
        examples=show(corpus, [(int(sample[row]), None) for row in members]),
        figure={"cluster_sizes": cluster_histogram(found.first)},
    )
    return Outcome(finding)


def _spread(rows: int, most: int) -> Places:
    """Some of the rows, evenly spread, for files are often sorted by topic; (rows or most,)."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))


def _distinct_grams(corpus: Corpus) -> float:
    """Different runs of four characters by all runs, of the answers of 2,000 rows at most.

    Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016,
    with characters for words. Texts are cut to 200 characters, for long ones repeat more.
    """
    drafts = [corpus.drafts[row] for row in _spread(len(corpus.drafts), _GRAM_ROWS).tolist()]
    texts = [draft.question if draft.kind == "text" else draft.answer for draft in drafts]
    codes, starts = codes_of([key[:_CUT] for key in near_keys(texts)])
    whole = np.ones(max(codes.size - _GRAM + 1, 0), np.bool_)
    for back in range(1, _GRAM):  # runs across the ends of texts are none
        ends = starts[1:-1] - back
        whole[ends[(ends >= 0) & (ends < whole.size)]] = False
    runs = window_hashes(codes, _GRAM)[whole]
    return distinct(runs).size / runs.size if runs.size else 0.0


DIVERSITY = Check(
    name="diversity",
    actions=("keep",),
    run=_run,
    title={"en": "Variety", "zh": "多样性"},
    says={
        "en": "{clusters:,} really different questions among {sampled:,} rows looked at; the "
        "largest group of similar ones is {largest:.1%} of them, and {distinct:.0%} of all runs "
        "of four characters in answers are different. {advice_en}",
        "zh": "在检查的 {sampled:,} 行中，真正不同的问题有 {clusters:,} 个；最大的一组相似问题"
        "占 {largest:.1%}；答案中四字片段的不重复率为 {distinct:.0%}。{advice_zh}",
    },
    does={"keep": {"en": "change nothing", "zh": "不作改动"}},
)
