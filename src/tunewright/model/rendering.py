"""Conversation ↔ token ids and loss mask: the one renderer of every stage.

Its ids are those of the model's official chat template, token for token, since that is what any
other engine will feed the model later. It needs neither torch nor transformers.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from tunewright.core.errors import DataError, ModelError, TunewrightError
from tunewright.core.files import digest, sha256_file
from tunewright.core.messages import Conversation, Message
from tunewright.model.chat_template import PLAIN_TEMPLATE, PLAIN_TEMPLATE_VERSION, ChatTemplate
from tunewright.model.control_tokens import ControlTokens, Encoded
from tunewright.model.folders import ModelFolder
from tunewright.model.tokenizer_files import (
    declared_ends,
    load_tokenizer,
    padding_id,
    special_variables,
)

_VERSION = 1
# Private characters that stand around each message's text to find it again in the template's
# output: two per message, so that templates may drop, repeat or reorder messages.
_MARKS = range(0x100000, 0x10FFFE)
_MARK = re.compile("[\U00100000-\U0010fffd]")
Turns = list[dict[str, str]]


@dataclass(frozen=True)
class Rendered:
    """Token ids of a conversation; ``mask`` is 1 where the loss counts, else 0. Both (seq,)."""

    ids: list[int]
    mask: list[int]


@dataclass(frozen=True)
class _Layout:
    """The template's text and, where known, each message's character range in it."""

    text: str
    spans: dict[int, tuple[int, int]] | None
    hidden: bool


class Renderer:
    """The renderer of one base.

    Args:
        folder: the base's folder.

    Attributes:
        hash: SHA-256 of all that decides the ids; it travels with every tuned model.
        context_length: most positions of the model.
        eos_ids: ids that end an answer.
        pad_id: id that fills a batch.
        note: what was assumed because the folder did not say, or an empty string.

    Raises:
        ModelError: the folder cannot be trusted or lacks what a conversation needs.
    """

    def __init__(self, folder: Path) -> None:
        files = ModelFolder.read(folder)
        self.tokenizer = load_tokenizer(files)
        self.context_length = files.context_length
        ends = declared_ends(files, self.tokenizer)
        self.pad_id = padding_id(files, self.tokenizer, ends)
        variables = special_variables(files)
        notes: list[str] = []
        source = files.chat_template
        if source is None:
            source = PLAIN_TEMPLATE
            variables = self._plain_variables(variables, ends, folder)
            notes.append("the base has no chat template; a plain one with text headings is used")
        self._template = ChatTemplate(source, variables)
        self._control = ControlTokens(self.tokenizer)
        self._generation_prompt, end = self._probe()
        if end is None and not ends:
            raise ModelError(f"{folder}: neither its files nor its chat template name an end token")
        self._appended_end = min(ends) if end is None else None
        if end is None:
            notes.append("the chat template writes no end token after an answer; one is added")
        self.eos_ids = frozenset(ends if end is None else ends | {end})
        self.note = "; ".join(notes)
        self.hash = digest(
            {
                "version": _VERSION,
                "plain": PLAIN_TEMPLATE_VERSION if files.chat_template is None else 0,
                "template": source,
                "variables": variables,
                "tokenizer": sha256_file(folder / "tokenizer.json"),
                "special": self._control.tokens,
                "ends": sorted(self.eos_ids),
            }
        )

    # Rendering -------------------------------------------------------------------------------

    def render(self, conversation: Conversation) -> Rendered:
        """Token ids and loss mask of a whole conversation.

        The mask covers each assistant turn of weight 1, from where the generation prompt ends
        to its end token, which is included: a model that never sees the end never stops.

        Raises:
            DataError: the base's template refuses the conversation.
        """
        return self.render_many([conversation])[0]

    def render_many(self, conversations: Sequence[Conversation]) -> list[Rendered]:
        """``render`` for many conversations, several times faster."""
        layouts = [self._layout(c.messages, False) for c in conversations]
        return [
            self._masked(conversation.messages, layout, encoded)
            for conversation, layout, encoded in zip(
                conversations, layouts, self._encode(layouts), strict=True
            )
        ]

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Ids up to where the model is to go on; a final assistant turn is left out."""
        return self._encode([self._layout(conversation.prompt().messages, True)])[0].ids

    def count(self, conversation: Conversation) -> int:
        """Tokens of the whole conversation."""
        return self.count_many([conversation])[0]

    def count_many(self, conversations: Sequence[Conversation]) -> list[int]:
        """``count`` for many conversations, several times faster."""
        layouts = [self._unmarked(c.messages, False) for c in conversations]
        extra = [len(self._missing_end(c.messages)) for c in conversations]
        ordinary = iter(self._control.count_batch([t.text for t in layouts if not t.hidden]))
        return [
            more + (len(self._control.encode_hidden(t.text).ids) if t.hidden else next(ordinary))
            for t, more in zip(layouts, extra, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; control tokens are left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def tokens_with_mask(self, conversation: Conversation) -> list[tuple[str, bool]]:
        """Each token's text with whether it is learned; for reports.

        Tokens that hold only a part of a character are joined until the character is whole.
        """
        layout = self._layout(conversation.messages, False)
        encoded = self._encode([layout])[0]
        rendered = self._masked(conversation.messages, layout, encoded)
        pieces: list[tuple[str, bool]] = []
        last: tuple[int, int] | None = None
        for offset, learned in zip(encoded.offsets, rendered.mask, strict=False):
            if offset != last:
                text = self._control.restore(layout.text[slice(*offset)])
                pieces.append((text, bool(learned)))
            last = offset
        for end in rendered.ids[len(encoded.ids) :]:
            pieces.append((str(self.tokenizer.id_to_token(end)), True))
        return pieces

    # Text ------------------------------------------------------------------------------------

    def _turns(self, messages: Sequence[Message]) -> tuple[Turns, bool]:
        """Messages as a template takes them, with spelled control tokens hidden."""
        hidden = any(self._control.spelled_in(m.content) for m in messages)
        if not hidden:
            return [{"role": m.role, "content": m.content} for m in messages], False
        for number, message in enumerate(messages, start=1):
            if not self._control.can_hide(message.content):
                raise DataError(
                    f"message {number} spells a control token beside private-use characters"
                )
        return [{"role": m.role, "content": self._control.hide(m.content)} for m in messages], True

    def _unmarked(self, messages: Sequence[Message], generate: bool) -> _Layout:
        turns, hidden = self._turns(messages)
        return _Layout(self._template.render(turns, generate), None, hidden)

    def _layout(self, messages: Sequence[Message], generate: bool) -> _Layout:
        turns, hidden = self._turns(messages)
        text = self._template.render(turns, generate)
        spans: dict[int, tuple[int, int]] | None = None
        if 2 * len(turns) <= len(_MARKS) and not any(_MARK.search(t["content"]) for t in turns):
            spans = self._spans(turns, generate, text)
        if spans and not hidden:
            hidden = self._matched_inside(text, spans)
        return _Layout(text, spans, hidden)

    def _spans(
        self, turns: Turns, generate: bool, expected: str
    ) -> dict[int, tuple[int, int]] | None:
        """Find each message's text by rendering once more with marks around it.

        None when the marks change what the template does; it may look into the text.
        """
        try:
            marked = self._template.render(
                [
                    {"role": turn["role"], "content": _marked(turn["content"], number)}
                    for number, turn in enumerate(turns)
                ],
                generate,
            )
        except TunewrightError:
            return None
        pieces = _MARK.split(marked)
        if "".join(pieces) != expected:
            return None
        spans: dict[int, tuple[int, int]] = {}
        opened: dict[int, int] = {}
        place = 0
        for piece, mark in zip(pieces, _MARK.findall(marked), strict=False):
            place += len(piece)
            number, closes = divmod(ord(mark) - _MARKS.start, 2)
            if not closes:
                opened[number] = place
            elif number in opened:
                spans[number] = (opened.pop(number), place)
        return {n: _with_space(turns[n]["content"], span, expected) for n, span in spans.items()}

    def _matched_inside(self, text: str, spans: dict[int, tuple[int, int]]) -> bool:
        """Whether a message's own text still yields control tokens, e.g. after normalisation."""
        return self._control.normalising and any(
            self._control.ids.intersection(self._control.encode(text[start:end]).ids)
            for start, end in spans.values()
        )

    def _encode(self, layouts: Sequence[_Layout]) -> list[Encoded]:
        ordinary = iter(self._control.encode_batch([t.text for t in layouts if not t.hidden]))
        return [
            self._control.encode_hidden(t.text) if t.hidden else next(ordinary) for t in layouts
        ]

    # Mask ------------------------------------------------------------------------------------

    def _masked(self, messages: Sequence[Message], layout: _Layout, encoded: Encoded) -> Rendered:
        ids, mask = list(encoded.ids), [0] * len(encoded.ids)
        for number, message in enumerate(messages):
            if message.role == "assistant" and message.weight:
                self._mark_answer(messages, number, layout, encoded, mask)
        for end in self._missing_end(messages):
            ids.append(end)
            mask.append(messages[-1].weight)
        return Rendered(ids, mask)

    def _mark_answer(
        self,
        messages: Sequence[Message],
        number: int,
        layout: _Layout,
        encoded: Encoded,
        mask: list[int],
    ) -> None:
        """Set the mask of one assistant turn, its end token included."""
        span = (layout.spans or {}).get(number)
        start, end = (
            (self._answer_start(messages, number, layout, span[0]), span[1])
            if span is not None
            else self._answer_by_prefix(messages, number, layout)
        )
        others = (layout.spans or {}).values()
        limit = min((first for first, _ in others if first > end), default=len(layout.text))
        begin = bisect_left(encoded.offsets, start, key=itemgetter(0))
        stop = max(begin, bisect_right(encoded.offsets, end, key=itemgetter(1)))
        # Between the answer and its end token a template may put white space.
        stop = max(stop, self._closing(encoded, stop, limit) + 1)
        mask[begin:stop] = [1] * (stop - begin)

    def _closing(self, encoded: Encoded, index: int, limit: int) -> int:
        """Position of the first control token from ``index`` on, if it ends an answer."""
        for place in range(index, len(encoded.ids)):
            if encoded.offsets[place][0] >= limit:
                break
            if encoded.ids[place] in self.eos_ids:
                return place
            if encoded.ids[place] in self._control.ids:
                break
        return index - 1

    def _answer_start(
        self, messages: Sequence[Message], number: int, layout: _Layout, content: int
    ) -> int:
        """Where the generation prompt ends: what the model writes itself begins there."""
        before = [end for _, end in (layout.spans or {}).values() if end <= content]
        prompt = self._generation_prompt
        if prompt:
            found = layout.text.rfind(prompt, max(before, default=0), content)
            return content if found < 0 else found + len(prompt)
        prefix = self._unmarked(messages[:number], True).text
        return len(prefix) if layout.text[:content].startswith(prefix) else content

    def _answer_by_prefix(
        self, messages: Sequence[Message], number: int, layout: _Layout
    ) -> tuple[int, int]:
        """The answer's range for templates that take a message's text apart."""
        text = layout.text
        prefix = self._unmarked(messages[:number], True).text
        content = self._turns(messages[number : number + 1])[0][0]["content"].strip()
        start = len(prefix) if text.startswith(prefix) else text.rfind(content)
        if start < 0:
            raise DataError(f"the base's chat template changes message {number + 1} too much")
        ends = [t for t, token in self._control.tokens.items() if token in self.eos_ids]
        found = [place for place in (text.find(t, start) for t in ends) if place >= 0]
        return start, min(found, default=len(text))

    def _missing_end(self, messages: Sequence[Message]) -> list[int]:
        if self._appended_end is None or messages[-1].role != "assistant":
            return []
        return [self._appended_end]

    # Learned from the template at the start ----------------------------------------------------

    def _probe(self) -> tuple[str, int | None]:
        """The generation prompt and the token that the template writes after an answer."""
        user, answer = Message(role="user", content="a"), Message(role="assistant", content="b")
        asked = self._unmarked([user], False).text
        prompted = self._unmarked([user], True).text
        prompt = prompted[len(asked) :] if prompted.startswith(asked) else ""
        layout = self._layout([user, answer], False)
        encoded = self._encode([layout])[0]
        if layout.spans is None or 1 not in layout.spans:
            after = layout.text.rfind("b") + 1
        else:
            after = layout.spans[1][1]
        for token, (first, _) in zip(encoded.ids, encoded.offsets, strict=True):
            if first >= after and token in self._control.ids:
                return prompt, token
        return prompt, None

    def _plain_variables(
        self, variables: dict[str, str], ends: set[int], folder: Path
    ) -> dict[str, str]:
        if "eos_token" in variables:
            return variables
        spelled = self.tokenizer.id_to_token(min(ends)) if ends else None
        if spelled is None:
            raise ModelError(
                f"{folder} has no chat template and names no end token",
                "Add eos_token to tokenizer_config.json.",
            )
        return {**variables, "eos_token": spelled}


def _marked(content: str, number: int) -> str:
    """Marks inside the white space, so that a template may trim."""
    inner = content.strip()
    start = content.find(inner)
    opening, closing = chr(_MARKS[2 * number]), chr(_MARKS[2 * number + 1])
    return f"{content[:start]}{opening}{inner}{closing}{content[start + len(inner) :]}"


def _with_space(content: str, span: tuple[int, int], text: str) -> tuple[int, int]:
    """Widen a range to the white space around the message, where the template kept it."""
    start, end = span
    inner = content.strip()
    place = content.find(inner)
    before, after = content[:place], content[place + len(inner) :]
    if before and text.endswith(before, 0, start):
        start -= len(before)
    if after and text.startswith(after, end):
        end += len(after)
    return start, end
