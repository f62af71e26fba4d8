"""Personal data: values that identify or reach a person, found by their form."""

from __future__ import annotations

from collections import defaultdict

from tunewright.data.checks import hiding
from tunewright.data.checks.base import Check, Context, Corpus, Finding, Outcome
from tunewright.data.checks.personal_kinds import PERSONAL

OWN_ROWS = 3
"""In how many answers, to different questions, a contact is taken for an organisation's own."""


def _own_contacts(corpus: Corpus, hits: hiding.Hits) -> frozenset[str]:
    """Contacts that answers give to everyone and no user ever names: a hotline, a mailbox.

    One that stands beside an identity card or the like is a person's, however often.
    """
    questions: dict[str, set[str]] = defaultdict(set)
    persons: set[str] = set()
    for row, some in hits.items():
        with_identity = any(not hit.kind.contact for hit in some)
        for hit in some:
            if hit.kind.contact and hit.role in ("assistant", "system") and not with_identity:
                questions[hit.value].add(corpus.drafts[row].question)
            else:
                persons.add(hit.value)
    return frozenset(v for v, asked in questions.items() if len(asked) >= OWN_ROWS) - persons


_PRIVATE = {
    "en": "{rows:,} rows hold what looks like personal data: {found}. A model may repeat it word "
    "for word. ",
    "zh": "{rows:,} 行疑似含有个人信息：{found}。模型可能逐字复述。",
}
_OWN = {
    "en": "{own:,} contacts that stand in several answers and in no question are taken for your "
    "organisation's own and stay. ",
    "zh": "有 {own:,} 个联系方式出现在多条回答中、却从未出现在提问里，"
    "视为贵单位自己的联系方式而保留。",
}


def _sentences(private: hiding.Hits, own: int) -> dict[str, str]:
    """What there is to say of either kind, by language; nothing of a kind that was not found."""
    said = {}
    for language in _PRIVATE:
        found = hiding.listing(private, language)
        told = _PRIVATE[language].format(rows=len(private), found=found) if private else ""
        said[f"private_{language}"] = told
        said[f"own_{language}"] = _OWN[language].format(own=own) if own else ""
    return said


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    hits = hiding.scan(corpus, PERSONAL)
    if not hits:
        return Outcome()
    own = _own_contacts(corpus, hits)
    private = hiding.without(hits, own)
    finding = Finding(
        check=PERSONAL_DATA.name,
        rows=len(private),
        level="care" if private else "info",
        action=action,
        facts={"rows": len(private), "own": len(own), **_sentences(private, len(own))},
        examples=hiding.examples(corpus, private, PERSONAL),
    )
    if action == "drop":
        return Outcome(finding, drops=hiding.drops(private, "personal data"))
    changes = hiding.masks(corpus, private, PERSONAL, own) if action == "mask" else []
    return Outcome(finding, changes=changes)


PERSONAL_DATA = Check(
    name="personal",
    actions=("mask", "drop", "keep"),
    run=_run,
    title={"en": "Personal data", "zh": "个人信息"},
    says={
        "en": "{private_en}{own_en}Names and addresses cannot be found by their form: look for "
        "them yourself.",
        "zh": "{private_zh}{own_zh}姓名和住址没有固定形式，无法自动识别，请自行核对。",
    },
    does={
        "mask": {
            "en": "put a mark such as [mobile number] in the place of each value",
            "zh": "把每一处换成〔手机号〕之类的标记",
        },
        "drop": {"en": "leave these rows out", "zh": "去掉这些行"},
        "keep": {"en": "keep them as they are", "zh": "原样保留"},
    },
)
