"""The form of calls, learnt from a base's chat template.

The template is shown an answer with one call and one with two; where the names and the arguments
stand in what it writes is all there is to know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tunewright.core.errors import TunewrightError
from tunewright.core.messages import Conversation, Message, ToolCall
from tunewright.model.calls.notations import NOTATIONS, Notation
from tunewright.model.calls.patterns import SLOT
from tunewright.model.rendering import Renderer

ID_LENGTH = 9
"""Letters and digits of an id of the model's own making, as the families that write one want it."""
_ID = "qz0000000"
_NAMES = ("qz_first", "qz_second")
_ARGUMENTS = {"qz_key": "qz_value"}
_TEXT = "qz_text"
# Some models announce a call with a token of its own that their templates never write.
_ANNOUNCED = "<|python_tag|>"


@dataclass(frozen=True)
class CallForm:
    """What stands around names and arguments.

    Attributes:
        head: before the first name of an answer that calls at once; empty where such an answer
            begins with the name.
        opening: before the first name behind words; empty where a call comes without any.
        middle: between a name and its arguments.
        between: from one call's arguments to the next name, ``SLOT`` for an id; None where only
            one is possible.
        tail: after the last arguments, ``SLOT`` for an id.
        notation: of the arguments.
        heading: what an answer without a call begins with, where a call has no head; it is no
            part of what is said.
        lead: the space that the tokenizer puts before a first word and decoding drops.
        announced: a head that models write though their template does not; may be empty.
    """

    head: str
    opening: str
    middle: str
    between: str | None
    tail: str
    notation: Notation
    heading: str = ""
    lead: str = ""
    announced: str = ""

    @property
    def heads(self) -> tuple[str, ...]:
        """What begins a call within an answer, the longer first."""
        found = (head.strip() for head in (self.announced, self.head, self.opening))
        return tuple(head for head in found if head)

    @property
    def writes_ids(self) -> bool:
        """Whether the model gives every call an id."""
        return SLOT in self.tail

    @classmethod
    def learn(cls, renderer: Renderer) -> CallForm | None:
        """The form that a base's template writes; None if it knows none that can be read again."""
        one = _written(renderer, _calling(1))
        found = _notation(one)
        if found is None or _NAMES[0] not in one:
            return None
        notation, arguments = found
        head, _, rest = one.partition(_NAMES[0])
        middle, _, tail = rest.partition(arguments)
        if not middle or arguments in tail:
            return None
        start = f"{head}{_NAMES[0]}{middle}{arguments}"
        end = f"{_NAMES[1]}{middle}{arguments}{tail}"
        between = _inner(_written(renderer, _calling(2)), start, end)
        after = _written(renderer, _calling(1, _TEXT)).partition(_TEXT)[2]
        opening = _inner(f"{_TEXT}{after}", _TEXT, f"{_NAMES[0]}{middle}{arguments}{tail}")
        return cls(
            head=head,
            opening=opening or head or (between or "").removeprefix(tail),
            middle=middle,
            between=None if between is None else between.replace(_ID, SLOT),
            tail=tail.replace(_ID, SLOT),
            notation=notation,
            heading="" if head else _heading(renderer),
            lead=_lead(renderer, one),
            announced=_ANNOUNCED + head if _ANNOUNCED in renderer.control_tokens else "",
        )


def _inner(text: str, start: str, end: str) -> str | None:
    """What stands between a beginning and an end; None without them, or with nothing between."""
    fits = text.startswith(start) and text.endswith(end) and len(text) > len(start) + len(end)
    return text[len(start) : len(text) - len(end)] if fits else None


def _notation(one: str) -> tuple[Notation, str] | None:
    """How the arguments are written, and their spelling."""
    return next(
        ((n, spelled) for n in NOTATIONS for spelled in n.spellings(_ARGUMENTS) if spelled in one),
        None,
    )


def _calling(count: int, words: str = "") -> Message:
    """An answer that calls so many functions."""
    calls = (
        ToolCall(name=name, arguments=json.dumps(_ARGUMENTS), id=_ID) for name in _NAMES[:count]
    )
    return Message(role="assistant", content=words, tool_calls=tuple(calls))


def _heading(renderer: Renderer) -> str:
    """What the model writes before an answer in words, where functions are on offer."""
    before, found, _ = _written(renderer, Message(role="assistant", content=_TEXT)).partition(_TEXT)
    return before if found and not before.strip() else ""


def _written(renderer: Renderer, answer: Message) -> str:
    """What the template writes for an answer; nothing if it refuses it."""
    parameters = {"type": "object", "properties": {"qz_key": {"type": "string"}}}
    conversation = Conversation(
        messages=(Message(role="user", content="?"), answer),
        tools=tuple(
            {"type": "function", "function": {"name": name, "parameters": parameters}}
            for name in _NAMES
        ),
    )
    try:
        rendered = renderer.render(conversation)
    except TunewrightError:
        return ""
    ids = [
        token
        for token, learnt in zip(rendered.ids, rendered.mask, strict=True)
        if learnt and token not in renderer.eos_ids
    ]
    return renderer.tokenizer.decode(ids, skip_special_tokens=False)


def _lead(renderer: Renderer, text: str) -> str:
    """The space before a text's first word that shows only behind other tokens."""
    ids = renderer.tokenizer.encode(text, add_special_tokens=False).ids
    whole = renderer.tokenizer.decode([*ids, *ids], skip_special_tokens=False)
    between = whole.removeprefix(text).removesuffix(text)
    return between if between.isspace() else ""
