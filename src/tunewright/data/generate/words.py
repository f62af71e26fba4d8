"""What ``generate`` tells people, in English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator

from tunewright.data.generate.estimate import Estimate
from tunewright.data.generate.prompts import language_of
from tunewright.data.generate.stage import Account
from tunewright.data.labels import Words

_SAYS: dict[str, dict[str, str]] = {
    "en": {
        "plan": "{asks} prompts to {model} at {host} → {output}",
        "answered": "  {answered} of them are answered already and cost nothing more",
        "calls": "  calls: {calls}",
        "most_calls": " (up to {most_calls} if the endpoint gives one completion at a time)",
        "tokens": "  tokens: about {prompt_tokens:,} of prompts and {completion_tokens:,} of "
        "replies; at most {most_tokens:,}, corrections apart",
        "cost": "  cost: about {cost:.4g}, at most {most_cost:.4g}, in the currency of the prices",
        "no_price": "  cost: unknown; --price-input and --price-output (per million tokens) tell",
        "nothing": "  Everything is answered already; nothing will be asked.",
        "skipped": "  left out before asking: {count} × {reason}",
        "confirm": "Ask for them?",
        "done": "{accepted} of {asked} results accepted, from {replies} replies",
        "rejected": "  {count:>7}  rejected: {reason}",
        "surplus": "  {count:>7}  beyond what was asked for, not used",
        "spent": "  paid for: {calls} calls, {prompt_tokens:,} prompt and {completion_tokens:,} "
        "completion tokens{cost}",
        "spent_cost": ", {cost:.4g}",
        "rejects": "  rejected results: {rejects}",
        "journal": "  journal: {journal}",
        "output": "  rows: {output}",
        "no_output": "  No result could be accepted, so no file of rows was written.",
        "calls_stop": "Stopped at --max-calls. Raise it and run the same command to go on.",
        "budget_stop": "Stopped before the budget would be passed. Raise --budget and run the "
        "same command to go on.",
        "again": "Some prompts have no answer; the same command asks for those again, and for "
        "nothing twice.",
        "prompt": "The first prompt in full ({language}):",
    },
    "zh": {
        "plan": "向 {host} 的 {model} 发送 {asks} 个提示 → {output}",
        "answered": "  其中 {answered} 个已有回答，不再花钱",
        "calls": "  请求数：{calls}",
        "most_calls": "（如果接口每次只给一个结果，最多 {most_calls}）",
        "tokens": "  token 数：提示约 {prompt_tokens:,}，回复约 {completion_tokens:,}；"
        "最多 {most_tokens:,}（不含改正）",
        "cost": "  费用：约 {cost:.4g}，最多 {most_cost:.4g}（与所给单价同一币种）",
        "no_price": "  费用：未知；给出 --price-input 和 --price-output（每百万 token 单价）可估算",
        "nothing": "  全部已有回答，无需再发请求。",
        "skipped": "  未提问：{count} × {reason}",
        "confirm": "开始生成？",
        "done": "收到 {replies} 条回复，{asked} 个结果中采用 {accepted} 个",
        "rejected": "  {count:>7}  不采用：{reason}",
        "surplus": "  {count:>7}  多给的结果，未使用",
        "spent": "  已用：{calls} 次请求，提示 {prompt_tokens:,} token，回复 "
        "{completion_tokens:,} token{cost}",
        "spent_cost": "，费用 {cost:.4g}",
        "rejects": "  未采用的结果：{rejects}",
        "journal": "  日志：{journal}",
        "output": "  数据：{output}",
        "no_output": "  没有可以采用的结果，因此没有写出数据文件。",
        "calls_stop": "已达到 --max-calls。调高后重新运行同一条命令即可继续。",
        "budget_stop": "再请求就会超出预算，已停止。调高 --budget 后重新运行同一条命令即可继续。",
        "again": "有些提示没有得到回答；重新运行同一条命令只会补问这些，不会重复付费。",
        "prompt": "第一个提示的全文（{language}）：",
    },
}


class Says:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        self._says = _SAYS["zh" if language == "zh" else "en"]
        self._reasons = Words.of(language).reasons

    def text(self, name: str, **values: object) -> str:
        """A sentence, filled in."""
        return self._says[name].format(**values)

    def plan(
        self, shown: Estimate, model: str, host: str, output: str, skipped: dict[str, int]
    ) -> Iterator[str]:
        """What will be asked for, and its cost."""
        facts = shown.json_dict()
        yield self.text("plan", model=model, host=host, output=output, **facts)
        yield from self._counted("skipped", skipped)
        if not shown.calls:
            yield self.text("nothing")
            return
        if shown.answered:
            yield self.text("answered", **facts)
        more = shown.most_calls > shown.calls
        yield self.text("calls", **facts) + (self.text("most_calls", **facts) if more else "")
        yield self.text("tokens", **facts)
        yield self.text("no_price" if shown.cost is None else "cost", **facts)

    def account(self, account: Account) -> Iterator[str]:
        """Where every result went, and what it took."""
        facts = vars(account)
        yield self.text("done", **facts)
        yield from self._counted("rejected", dict(account.rejected))
        if account.surplus:
            yield self.text("surplus", count=account.surplus)
        yield from (f"  {sentence}" for sentence in account.findings)
        cost = "" if account.cost is None else self.text("spent_cost", **facts)
        yield self.text("spent", **{**facts, "cost": cost})
        if account.rejects is not None:
            yield self.text("rejects", **facts)
        yield self.text("journal", **facts)
        yield self.text("output" if account.output else "no_output", **facts)
        if account.how in ("calls", "budget"):
            yield self.text(f"{account.how}_stop")
        elif "no answer from the endpoint" in account.rejected:
            yield self.text("again")

    def prompt(self, messages: tuple[dict[str, str], ...]) -> Iterator[str]:
        """A prompt in full."""
        yield self.text("prompt", language=language_of(messages[-1]["content"]))
        for message in messages:
            yield f"[{message['role']}]"
            yield _visible(message["content"])

    def _counted(self, name: str, counts: dict[str, int]) -> Iterator[str]:
        for reason, count in counts.items():
            yield self.text(name, count=count, reason=self._reasons.get(reason, reason))


def _visible(text: str) -> str:
    """Sources are shown as they are, but cannot command the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
