"""Fine-tune, retrieve, or both: a rule of thumb from what the rows are and how many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from tunewright.core.messages import RowKind
from tunewright.training.estimates import Estimate
from tunewright.training.recipes import Facts, Text

Recommendation = Literal["fine-tune", "knowledge base", "both", "more data"]

FEWEST_ROWS, FEW_ROWS = 20, 100
_CORPUS = 50_000_000  # tokens from which continued pretraining changes what a model knows
_FIGURES = re.compile(r"\d{2}|\d\s*[%％元年月日天]|[一二三四五六七八九十百千]+\s*[条款元年月日天]")
_FACTUAL = 0.6
_LONG = 20  # characters: shorter answers are labels

_DOCUMENTS = Text(
    "the rows are documents: facts are found again more reliably by retrieval than by training"
    " (Ovadia et al. 2023, arXiv 2312.05934: 0.88 against 0.50 on new events); build a knowledge"
    " base, and make questions and answers of it (tunewright generate questions) to train how"
    " to answer",
    "数据是文档：事实靠检索比靠训练更可靠（Ovadia 等 2023，arXiv 2312.05934：新事件上 0.88 对"
    " 0.50）；请建知识库，再用 tunewright generate questions 从中生成问答，训练怎样回答",
)
_LARGE_CORPUS = Text(
    "{tokens:,} tokens of text: enough for continued pretraining to teach the field's language;"
    " single facts still belong in a knowledge base",
    "{tokens:,} 个 token 的文本：足够通过继续预训练学会行业语言；具体事实仍应放进知识库",
)
_TOO_FEW = Text(
    "{rows:,} rows: training works, but cannot be judged; collect at least 50, or generate more"
    " (tunewright generate)",
    "{rows:,} 行：可以训练，但无法判断好坏；请至少收集 50 行，或用 tunewright generate 生成更多",
)
_FEW = Text(
    "{rows:,} rows teach a tone and a format; for knowledge, 500 and more are usual",
    "{rows:,} 行足以学会语气和格式；要学知识，通常需要 500 行以上",
)
_ENOUGH = Text(
    "{rows:,} rows with {tokens:,} tokens to learn: enough to change how the model answers",
    "{rows:,} 行、{tokens:,} 个要学的 token：足以改变模型的回答方式",
)
_FACTS = Text(
    "{share:.0%} of the answers hold figures, dates or articles: train how to answer, and let a"
    " knowledge base supply what changes or must be exact",
    "{share:.0%} 的回答含有数字、日期或条款：训练怎样回答，会变的和必须准确的内容交给知识库",
)
_JUDGED = Text(
    "the rows are judgements: they correct a model that can already answer; train it on answers"
    " first if it cannot",
    "数据是评判：用来纠正已经会回答的模型；如果还不会，先用问答训练",
)


def recommendation(
    content: RowKind, facts: Facts, answers: Sequence[str]
) -> tuple[Recommendation, list[Text]]:
    """What to do, and why.

    Args:
        content: what the rows are.
        facts: how much there is.
        answers: of some rows.
    """
    if content == "text":
        if facts.tokens < _CORPUS:
            return "knowledge base", [_DOCUMENTS]
        return "both", [_said(_LARGE_CORPUS, facts)]
    if facts.rows < FEWEST_ROWS:
        return "more data", [_said(_TOO_FEW, facts)]
    reasons = [_said(_FEW if facts.rows < FEW_ROWS else _ENOUGH, facts)]
    if content != "conversation":
        return "fine-tune", [*reasons, _JUDGED]
    share = factual_share(answers)
    if share < _FACTUAL:
        return "fine-tune", reasons
    return "both", [*reasons, Text(_FACTS.en.format(share=share), _FACTS.zh.format(share=share))]


def factual_share(answers: Sequence[str]) -> float:
    """Share of the answers that are longer than a label and hold figures, 0..1."""
    factual = sum(len(text) >= _LONG and bool(_FIGURES.search(text)) for text in answers)
    return factual / max(1, len(answers))


def _said(words: Text, facts: Facts) -> Text:
    tokens = facts.tokens if words is _LARGE_CORPUS else facts.supervised
    numbers = {"rows": facts.rows, "tokens": tokens}
    return Text(words.en.format(**numbers), words.zh.format(**numbers))


def lora_is_enough(facts: Facts, largest: int) -> Text:
    """LoRA rather than everything."""
    return Text(
        f"LoRA: with up to {largest:,} weights it can hold {facts.supervised:,} learnt tokens, and"
        " the base forgets less",
        f"用 LoRA：最多 {largest:,} 个参数，装得下要学的 {facts.supervised:,} 个 token，"
        "基座也忘得更少",
    )


def full_is_better(facts: Facts, largest: int) -> Text:
    """Everything rather than LoRA."""
    return Text(
        f"all weights: {facts.supervised:,} learnt tokens are more than LoRA's usual {largest:,}"
        " weights hold, and the memory is there",
        f"全参数微调：要学的 {facts.supervised:,} 个 token 超过 LoRA 常用的 {largest:,} 个参数"
        "所能容纳，而且内存足够",
    )


def full_does_not_fit(full: Estimate) -> Text:
    """LoRA although everything would learn more."""
    need = full.memory.peak / 1e9
    return Text(
        f"LoRA, although there is more to learn than it usually holds: training all weights takes"
        f" {need:.1f} GB",
        f"用 LoRA，尽管要学的内容超过它通常的容量：全参数微调需要 {need:.1f} GB",
    )


def other_tokenizer(counted: str, base: str) -> Text:
    """The dataset's tokens were counted for another base."""
    return Text(
        f"tokens were counted for {counted}; {base} may count up to a third more or less:"
        f" prepare with --base {base} to be exact",
        f"token 数按 {counted} 计算；{base} 可能多或少三分之一："
        f"用 --base {base} 重新准备可得准确值",
    )
