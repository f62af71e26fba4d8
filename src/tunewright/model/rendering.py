"""Conversation ↔ token ids and loss mask: the one renderer of every stage.

Its ids are those of the model's official chat template, token for token, since that is what any
other engine will feed the model later. It needs neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tunewright.core.errors import DataError, ModelError
from tunewright.core.files import digest, sha256_file
from tunewright.core.messages import Conversation, Message
from tunewright.model.chat_template import PLAIN_TEMPLATE, PLAIN_TEMPLATE_VERSION, ChatTemplate
from tunewright.model.control_tokens import ControlTokens, Encoded
from tunewright.model.folders import ModelFolder
from tunewright.model.layouts import Layout, Layouts
from tunewright.model.loss_mask import LossMask
from tunewright.model.segments import ENCODING, SEGMENTS, SegmentedTokens
from tunewright.model.tokenizer_files import (
    bounded_by_bytes,
    declared_ends,
    load_tokenizer,
    padding_id,
    special_variables,
    text_frame,
)

_VERSION = 1


@dataclass(frozen=True)
class Rendered:
    """Token ids of a row; ``mask`` is 1 where the loss counts, else 0. Both (seq,)."""

    ids: list[int]
    mask: list[int]


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
        tools = files.tool_template
        tool_use = ChatTemplate(tools, variables) if tools else None
        segmented = files.tokenizer.get(ENCODING) == SEGMENTS
        self._control = (SegmentedTokens if segmented else ControlTokens)(self.tokenizer)
        self._layouts = Layouts(ChatTemplate(source, variables), tool_use, self._control)
        prompt, end = self._probe()
        if end is None and not ends:
            raise ModelError(f"{folder}: neither its files nor its chat template name an end token")
        self._appended_end = min(ends) if end is None else None
        if end is None:
            notes.append("the chat template writes no end token after an answer; one is added")
        self.eos_ids = frozenset(ends if end is None else ends | {end})
        self._mask = LossMask(self._layouts, self._control, prompt, self.eos_ids, end is None)
        self._text_start, self._text_end = text_frame(files, self.tokenizer, self.eos_ids)
        self.note = "; ".join(notes)
        self.hash = digest(
            {
                "version": _VERSION,
                "plain": PLAIN_TEMPLATE_VERSION if files.chat_template is None else 0,
                "template": source,
                **({"tool_template": tools} if tools else {}),
                **({ENCODING: SEGMENTS} if segmented else {}),
                **({"rejoins": True} if self._layouts.rejoins else {}),
                "variables": variables,
                "tokenizer": sha256_file(folder / "tokenizer.json"),
                "special": self._control.tokens,
                "ends": sorted(self.eos_ids),
            }
        )

    @cached_property
    def bounded_by_bytes(self) -> bool:
        """Whether a text in NFC never gives more tokens than it has UTF-8 bytes."""
        return bounded_by_bytes(self.tokenizer)

    @cached_property
    def longest_token(self) -> int:
        """Most characters of a text that one token can stand for."""
        return max(map(len, self.tokenizer.get_vocab()))

    # Conversations ----------------------------------------------------------------------------

    def render(self, conversation: Conversation) -> Rendered:
        """Token ids and loss mask of a whole conversation.

        The mask covers each assistant turn of weight 1, from where the generation prompt ends
        to its end token, which is included: a model that never sees the end never stops. A call
        of a tool is part of its turn; tools, their results and users' texts are never learned.

        Raises:
            DataError: the base's template refuses the conversation, or knows no tools and the
                conversation has some.
        """
        return self.render_many([conversation])[0]

    def render_many(self, conversations: Sequence[Conversation]) -> list[Rendered]:
        """``render`` for many conversations, several times faster."""
        layouts = [self._layouts.of(c, False) for c in conversations]
        return [
            self._rendered(conversation, layout, encoded)
            for conversation, layout, encoded in zip(
                conversations, layouts, self._layouts.encode(layouts), strict=True
            )
        ]

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Ids up to where the model is to go on; a final assistant turn is left out."""
        ids = self._layouts.encode([self._layouts.of(conversation.prompt(), True)])[0].ids
        # With tools the model itself says in the heading whether it calls one.
        return ids if conversation.tools else ids + self._control.opening

    def count(self, conversation: Conversation) -> int:
        """Tokens of the whole conversation."""
        return self.count_many([conversation])[0]

    def count_many(self, conversations: Sequence[Conversation]) -> list[int]:
        """``count`` for many conversations, several times faster."""
        layouts = [self._layouts.unmarked(c, False) for c in conversations]
        extra = [len(self._missing_end(c)) for c in conversations]
        return [n + more for n, more in zip(self._layouts.count(layouts), extra, strict=True)]

    # Plain text -------------------------------------------------------------------------------

    def render_text(self, text: str) -> Rendered:
        """Token ids of plain text, for continued pretraining: all of it is learned.

        No chat template is involved. Control tokens that the text spells are plain text. Before
        it stands what the base's tokenizer puts before every text (often nothing, for some bases
        a begin token), and after it the base's end token.

        Raises:
            DataError: the text spells a control token beside private-use characters.
        """
        return self.render_texts([text])[0]

    def render_texts(self, texts: Sequence[str]) -> list[Rendered]:
        """``render_text`` for many texts, several times faster."""
        return [Rendered(ids, [1] * len(ids)) for ids in map(self._framed, self._encoded(texts))]

    def count_texts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens ``render_text`` gives for each text."""
        frame = len(self._text_start) + 1
        if self._control.normalising or any(map(self._control.spelled_in, texts)):
            return [len(encoded.ids) + frame for encoded in self._encoded(texts)]
        return [count + frame for count in self._control.count_batch(texts)]

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The base's control tokens as they are spelled; in a text they are plain characters."""
        return tuple(self._control.tokens)

    @property
    def control_ids(self) -> dict[str, int]:
        """The ids of the base's control tokens, by their spelling."""
        return dict(self._control.tokens)

    # For people -------------------------------------------------------------------------------

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; control tokens are left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def tokens_with_mask(self, conversation: Conversation) -> list[tuple[str, bool]]:
        """Each token's text with whether it is learned; for reports.

        Tokens that hold only a part of a character are joined until the character is whole.
        """
        layout = self._layouts.of(conversation, False)
        encoded = self._layouts.encode([layout])[0]
        rendered = self._rendered(conversation, layout, encoded)
        pieces = self._pieces(layout.text, encoded, rendered.mask)
        return pieces + self._named(rendered.ids[len(encoded.ids) :])

    def text_tokens_with_mask(self, text: str) -> list[tuple[str, bool]]:
        """``tokens_with_mask`` for plain text; all of it is learned."""
        hidden = self._hidden(text)
        encoded = self._encoded([text])[0]
        pieces = self._pieces(hidden or text, encoded, [1] * len(encoded.ids))
        return [*self._named(self._text_start), *pieces, *self._named([self._text_end])]

    def _pieces(self, text: str, encoded: Encoded, mask: Sequence[int]) -> list[tuple[str, bool]]:
        pieces: list[tuple[str, bool]] = []
        shown = 0
        for (first, last), learned in zip(encoded.offsets, mask, strict=False):
            # Tokens that share a character's bytes both claim the whole character.
            if last > shown:
                piece = text[max(first, shown) : last]
                pieces.append((self._control.restore(piece), bool(learned)))
                shown = last
        return pieces

    def _named(self, ids: Sequence[int]) -> list[tuple[str, bool]]:
        return [(str(self.tokenizer.id_to_token(token)), True) for token in ids]

    # Ids --------------------------------------------------------------------------------------

    def _rendered(self, conversation: Conversation, layout: Layout, encoded: Encoded) -> Rendered:
        ids, mask = list(encoded.ids), self._mask.of(conversation, layout, encoded)
        for end in self._missing_end(conversation):
            ids.append(end)
            mask.append(conversation.messages[-1].weight)
        return Rendered(ids, mask)

    def _missing_end(self, conversation: Conversation) -> list[int]:
        if self._appended_end is None or conversation.messages[-1].role != "assistant":
            return []
        return [self._appended_end]

    def _hidden(self, text: str) -> str | None:
        """The text with spelled control tokens hidden; None when it spells none."""
        if not self._control.spelled_in(text):
            return None
        if not self._control.can_hide(text):
            raise DataError("the text spells a control token beside private-use characters")
        return self._control.hide(text)

    def _encoded(self, texts: Sequence[str]) -> list[Encoded]:
        hidden = [self._hidden(text) for text in texts]
        plain = [text for text, other in zip(texts, hidden, strict=True) if other is None]
        ordinary = iter(zip(plain, self._control.encode_batch(plain), strict=True))
        found = []
        for other in hidden:
            text, encoded = next(ordinary) if other is None else (other, None)
            # After normalisation a text may yield a control token that it does not spell.
            if encoded is None or self._control.ids.intersection(encoded.ids):
                encoded = self._control.encode_hidden(text)
            found.append(encoded)
        return found

    def _framed(self, encoded: Encoded) -> list[int]:
        return [*self._text_start, *encoded.ids, self._text_end]

    # Learned from the template at the start ----------------------------------------------------

    def _probe(self) -> tuple[str, int | None]:
        """The generation prompt and the token that the template writes after an answer."""
        user, answer = Message(role="user", content="a"), Message(role="assistant", content="b")
        question = Conversation(messages=(user,))
        asked = self._layouts.unmarked(question, False).text
        prompted = self._layouts.unmarked(question, True).text
        prompt = prompted[len(asked) :] if prompted.startswith(asked) else ""
        layout = self._layouts.of(Conversation(messages=(user, answer)), False)
        encoded = self._layouts.encode([layout])[0]
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
