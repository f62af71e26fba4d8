"""Keys, tokens and passwords that came into the data."""

from __future__ import annotations

import re

from tunewright.data.checks import hiding
from tunewright.data.checks.base import Check, Context, Corpus, Finding, Outcome
from tunewright.data.checks.secret_kinds import SECRETS as KINDS
from tunewright.data.checks.turns import all_turns
from tunewright.data.records import Draft

# A password that a conversation made up on request opens nothing.
_MAKES_ONE = re.compile(
    r"(?:生成|产生|创建|随机|设计)[^。\n]{0,16}(?:密码|口令)|随机密码|"
    r"(?:generat|creat|mak|random|new)\w{0,12}[^.\n]{0,24}password|password[ _]?generat",
    re.IGNORECASE,
)


def _fresh(corpus: Corpus, hits: hiding.Hits) -> frozenset[str]:
    """Passwords of the rows that are about making one."""
    return frozenset(
        hit.value
        for row, some in hits.items()
        for hit in some
        if hit.kind.name == "password" and _makes_one(corpus.drafts[row])
    )


def _makes_one(draft: Draft) -> bool:
    said = [turn.text for turn in all_turns(draft)]
    called = [call.name for turn in all_turns(draft) for call in turn.calls]
    return any(_MAKES_ONE.search(text) for text in said + called)


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    found = hiding.scan(corpus, KINDS)
    fresh = _fresh(corpus, found)
    hits = hiding.without(found, fresh)
    if not hits:
        return Outcome()
    finding = Finding(
        check=SECRETS.name,
        rows=len(hits),
        level="care",
        action=action,
        facts={
            "rows": len(hits),
            "found_en": hiding.listing(hits, "en"),
            "found_zh": hiding.listing(hits, "zh"),
        },
        examples=hiding.examples(corpus, hits, KINDS),
    )
    if action == "drop":
        return Outcome(finding, drops=hiding.drops(hits, "secret"))
    return Outcome(
        finding, changes=hiding.masks(corpus, hits, KINDS, fresh) if action == "mask" else []
    )


SECRETS = Check(
    name="secrets",
    actions=("mask", "drop", "keep"),
    run=_run,
    title={"en": "Keys and passwords", "zh": "密钥与密码"},
    says={
        "en": "{rows:,} rows hold what looks like a secret: {found_en}. A model may give it away "
        "to anyone. Whatever is real among them should be revoked now, masked or not.",
        "zh": "{rows:,} 行疑似含有机密：{found_zh}。模型可能把它泄露给任何人。"
        "其中凡是真实有效的，无论是否遮盖，都应立即作废更换。",
    },
    does={
        "mask": {
            "en": "put a mark such as [API key] in the place of each",
            "zh": "把每一处换成〔API 密钥〕之类的标记",
        },
        "drop": {"en": "leave these rows out", "zh": "去掉这些行"},
        "keep": {"en": "keep them as they are", "zh": "原样保留"},
    },
)
