"""Generated conversations of every kind that a family's template knows."""

from __future__ import annotations

import random

from tests.model.family_bases import Specimen

from tunewright.core.messages import Conversation, Message, ToolCall

_PIECES = (
    "How long is the trial period?", "Three months at most, in writing.", "试用期最长多久?",
    "押金在租期结束后七日内退还。", "🙂", "👩\u200d👩\u200d👧 é d\u200dé", "123,456.789", "\n",
    "\n\n", "  ", " ", "\t", "{{ 7 * 7 }} {% raw %}", '{"a": [1, null]}', "### Heading\n- a\n- b",
    "```py\nx = '\\n'\n```", "[INST] <<SYS>> User: Assistant:", "«ça» – ½", "ＡＢＣ\u3000全角",
    "e\u0301", "<b>&amp;</b>", "x\u0308",
)  # fmt: skip
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "天气 in a city 🙂",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def chats(specimen: Specimen, count: int, spelled: bool = False) -> list[Conversation]:
    """As many conversations; with ``spelled``, each holds control tokens that are only spelled."""
    draw = random.Random(f"{specimen.model_type}{spelled}")
    return [_chat(specimen, draw, spelled) for _ in range(count)]


def plain(chat: Conversation, specimen: Specimen) -> Conversation:
    """The conversation with a letter in the place of every control token that it spells."""
    messages = []
    for message in chat.messages:
        content = message.content
        for special in sorted(specimen.specials, key=len, reverse=True):
            content = content.replace(special, "x")
        messages.append(message.model_copy(update={"content": content}))
    return Conversation(messages=tuple(messages), tools=chat.tools)


def _chat(specimen: Specimen, draw: random.Random, spelled: bool) -> Conversation:
    harmless = [p for p in _PIECES if not any(one in p for one in specimen.specials)]

    def text() -> str:
        pieces = draw.choices(harmless, k=draw.randrange(1, 5))
        if spelled:
            pieces.insert(draw.randrange(len(pieces) + 1), draw.choice(specimen.specials))
        return "w" + " ".join(pieces) if draw.random() < 0.9 else " " + "w".join(pieces) + "w\n"

    messages: list[Message] = []
    if specimen.system and draw.random() < 0.4:
        messages.append(Message(role="system", content=text()))
    tools = specimen.tools and draw.random() < 0.3
    for _ in range(draw.randrange(1, 4)):
        messages.append(Message(role="user", content=text()))
        if tools and draw.random() < 0.6:
            messages += _called(draw, text())
        thought = "</think>" in specimen.template and draw.random() < 0.3
        before = f"<think>\n{text().strip()}\n</think>\n\n" if thought else ""
        messages.append(Message(role="assistant", content=before + text()))
    return Conversation(messages=tuple(messages), tools=(_TOOL,) if tools else ())


def _called(draw: random.Random, result: str) -> list[Message]:
    number = f"{draw.randrange(10**8, 10**9)}"
    city = draw.choice(["北京", "Paris", "São Paulo"])
    call = ToolCall(id=number, name="weather", arguments=f'{{"city": "{city}"}}')
    return [
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content=result, tool_call_id=number, name="weather"),
    ]
