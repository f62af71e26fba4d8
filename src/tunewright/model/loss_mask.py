"""Which tokens of a rendered conversation the loss counts."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter

from tunewright.core.errors import DataError
from tunewright.core.messages import Conversation, Message
from tunewright.model.control_tokens import ControlTokens, Encoded
from tunewright.model.layouts import Layout, Layouts
from tunewright.model.marks import Span

_STAND_IN = Message(role="assistant", content="b")


class LossMask:
    """Finds assistant turns in the tokens of one base.

    Args:
        layouts: of the same base.
        control: its control tokens.
        generation_prompt: what the template writes where the model is to go on.
        eos_ids: ids that end an answer.
        endless: whether the template itself writes no end token after an answer.
    """

    def __init__(
        self,
        layouts: Layouts,
        control: ControlTokens,
        generation_prompt: str,
        eos_ids: frozenset[int],
        endless: bool,
    ) -> None:
        self._layouts = layouts
        self._control = control
        self._generation_prompt = generation_prompt
        self._eos_ids = eos_ids
        self._endless = endless

    def of(self, conversation: Conversation, layout: Layout, encoded: Encoded) -> list[int]:
        """1 for each token of an assistant turn of weight 1, from where the generation prompt
        ends to its end token, tool calls included; else 0. (seq,)

        Raises:
            DataError: an assistant turn cannot be found in what the template wrote.
        """
        mask = [0] * len(encoded.ids)
        for number, message in enumerate(conversation.messages):
            if message.role == "assistant" and message.weight:
                begin, stop = self._tokens(conversation, number, layout, encoded)
                mask[begin:stop] = [1] * (stop - begin)
        return mask

    def _tokens(
        self, conversation: Conversation, number: int, layout: Layout, encoded: Encoded
    ) -> Span:
        """The half-open range of one assistant turn's tokens, its end token included."""
        span = (layout.spans or {}).get(number)
        start, end = (
            (self._start(conversation, number, layout, span[0]), span[1])
            if span is not None
            else self._by_prefix(conversation, number, layout)
        )
        others = (layout.spans or {}).values()
        limit = min((first for first, _ in others if first > end), default=len(layout.text))
        begin = bisect_left(encoded.offsets, start, key=itemgetter(0))
        stop = max(begin, bisect_right(encoded.offsets, end, key=itemgetter(1)))
        if conversation.messages[number].tool_calls:
            last = number == len(conversation.messages) - 1
            return begin, self._end_of_calls(encoded, stop, limit, last)
        # Between the answer and its end token a template may put white space.
        return begin, max(stop, self._closing(encoded, stop, limit) + 1)

    def _closing(self, encoded: Encoded, index: int, limit: int) -> int:
        """Position of the first control token from ``index`` on, if it ends an answer."""
        for place in range(index, len(encoded.ids)):
            if encoded.offsets[place][0] >= limit:
                break
            if encoded.ids[place] in self._eos_ids:
                return place
            if encoded.ids[place] in self._control.ids:
                break
        return index - 1

    def _end_of_calls(self, encoded: Encoded, index: int, limit: int, last: bool) -> int:
        """Where a turn that calls tools is over; its calls may hold the template's own tokens."""
        for place in range(index, len(encoded.ids)):
            if encoded.offsets[place][0] >= limit:
                break
            if encoded.ids[place] in self._eos_ids:
                return place + 1
        if last and self._endless:
            return len(encoded.ids)
        raise DataError("the base's chat template writes no end token after a tool call")

    def _start(self, conversation: Conversation, number: int, layout: Layout, content: int) -> int:
        """Where the generation prompt ends: what the model writes itself begins there."""
        before = [end for _, end in (layout.spans or {}).values() if end <= content]
        prompt = self._generation_prompt
        if prompt:
            found = layout.text.rfind(prompt, max(before, default=0), content)
            if found >= 0:
                return found + len(prompt)
        else:
            prefix = self._layouts.prompt_text(conversation.messages[:number], conversation)
            if layout.text[:content].startswith(prefix):
                return len(prefix)
            if (place := _after_question(prefix, number, layout)) is not None:
                return place
        if conversation.messages[number].tool_calls:
            return self._start_of_calls(conversation, number, layout, content)
        return content

    def _start_of_calls(
        self, conversation: Conversation, number: int, layout: Layout, content: int
    ) -> int:
        """Where the calls part from what the template would write before a plain answer."""
        told = (*conversation.messages[:number], _STAND_IN)
        plain = self._layouts.of(
            Conversation.model_construct(messages=told, tools=conversation.tools), False
        )
        mine, theirs = layout.spans or {}, plain.spans or {}
        if number - 1 not in mine or number - 1 not in theirs or number not in theirs:
            raise _unfollowed(number)
        place = mine[number - 1][1]
        before = plain.text[theirs[number - 1][1] : theirs[number][0]]
        return place + _shared(layout.text[place:content], before)

    def _by_prefix(self, conversation: Conversation, number: int, layout: Layout) -> Span:
        """A turn's range for templates that take a message's text apart."""
        text, message = layout.text, conversation.messages[number]
        prefix = self._layouts.prompt_text(conversation.messages[:number], conversation)
        content = self._control.hide(message.content) if layout.hidden else message.content
        if text.startswith(prefix):
            start = len(prefix)
        else:
            start = -1 if message.tool_calls else text.rfind(content.strip())
        if start < 0:
            raise _unfollowed(number)
        ends = [t for t, token in self._control.tokens.items() if token in self._eos_ids]
        found = [place for place in (text.find(t, start) for t in ends) if place >= 0]
        return start, min(found, default=len(text))


def _after_question(prefix: str, number: int, layout: Layout) -> int | None:
    """Where a turn begins whose question the template writes elsewhere with more before it.

    Args:
        prefix: what the template writes up to where this turn is to be written.
        number: of the turn.
        layout: of the whole conversation.
    """
    start, end = (layout.spans or {}).get(number - 1, (0, 0))
    question = layout.text[start:end]
    found = prefix.rfind(question) if question else -1
    closing = prefix[found + len(question) :]
    if found < 0 or not closing or not layout.text.startswith(closing, end):
        return None
    return end + len(closing)


def _shared(first: str, second: str) -> int:
    """Length of the beginning that two texts share."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(first), len(second)))


def _unfollowed(number: int) -> DataError:
    return DataError(f"the base's chat template changes message {number + 1} too much")
