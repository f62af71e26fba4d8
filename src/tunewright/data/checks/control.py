"""Texts that spell a control token, as a chat template writes it."""

from __future__ import annotations

from collections import Counter

from tunewright.data.checks.base import (
    EXAMPLES,
    Check,
    Context,
    Corpus,
    Drop,
    Finding,
    Outcome,
)
from tunewright.data.checks.columns import where
from tunewright.data.checks.shown import example
from tunewright.data.checks.turns import parts
from tunewright.data.records import Draft

_OTHERS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>",
    "<|observation|>", "<|end|>", "<|eot_id|>", "<|begin_of_text|>", "<|end_of_text|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|endofprompt|>", "<|fim_prefix|>",
    "<|fim_middle|>", "<|fim_suffix|>", "<|channel|>", "<|message|>", "<|return|>", "<|eom_id|>",
    "<|python_tag|>", "<|startoftext|>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>",
    "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>", "<pad>", "<unk>", "[gMASK]", "[sMASK]",
    "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
    "<reserved_106>", "<reserved_107>", "<_user>", "<_bot>", "<_end>", "[UNUSED_TOKEN_146]",
    "[UNUSED_TOKEN_145]",
)  # fmt: skip
"""Control tokens of the families of chat models in use, whatever the base."""


def _spellings(own: tuple[str, ...]) -> tuple[str, ...]:
    """What to look for; a token that is a plain word ("sop") proves nothing in a text."""
    telling = [token for token in own if len(token) > 2 and not token.strip("▁Ġ ").isalnum()]
    return tuple(dict.fromkeys([*telling, *_OTHERS]))


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    own = context.renderer.control_tokens
    wanted = _spellings(own)
    rows = where(corpus.texts, lambda text: text.str.contains_any(list(wanted)))
    if not rows:
        return Outcome()
    spelled = {row: _spelled(corpus.drafts[row], wanted) for row in rows}
    counts = Counter(token for tokens in spelled.values() for token in tokens)
    mine = sum(any(token in own for token in tokens) for tokens in spelled.values())
    finding = Finding(
        check=CONTROL.name,
        rows=len(rows),
        level="info",
        action=action,
        facts={
            "rows": len(rows),
            "own": mine,
            "own_en": f", {mine:,} of them tokens of this base" if mine else "",
            "own_zh": f"，其中 {mine:,} 行写的正是本基座的标记" if mine else "",
            "tokens": " ".join(token for token, _ in counts.most_common(EXAMPLES)),
        },
        examples=tuple(
            example(corpus.drafts[row], lambda text: _first(text, wanted))
            for row in rows[:EXAMPLES]
        ),
    )
    drops = [Drop(row, "spells a control token", " ".join(spelled[row])) for row in rows]
    return Outcome(finding, drops if action == "drop" else ())


def _spelled(draft: Draft, wanted: tuple[str, ...]) -> list[str]:
    texts = [text for _, text in parts(draft)]
    return [token for token in wanted if any(token in text for text in texts)]


def _first(text: str, wanted: tuple[str, ...]) -> int | None:
    places = [place for place in map(text.find, wanted) if place >= 0]
    return min(places, default=None)


CONTROL = Check(
    name="control",
    actions=("keep", "drop"),
    run=_run,
    title={"en": "Control tokens in texts", "zh": "文本中的控制标记"},
    says={
        "en": "{rows:,} rows spell control tokens of chat models ({tokens}){own_en}. "
        "They are encoded as the plain characters that they are, so no "
        "text can close its own turn; but if they are leftovers of another tool's export, "
        "clean them at the source.",
        "zh": "{rows:,} 行的文本里写有对话模型的控制标记（{tokens}）{own_zh}。"
        "它们一律按普通字符编码，不会起控制作用；"
        "但如果是其他工具导出时残留的，建议从源头清理。",
    },
    does={
        "keep": {"en": "keep them as plain text", "zh": "作为普通文本保留"},
        "drop": {"en": "leave these rows out", "zh": "去掉这些行"},
    },
)
