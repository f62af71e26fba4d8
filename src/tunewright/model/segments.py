"""Conversations that are encoded piece by piece, as ChatGLM3's own code does it.

Between control tokens stand a heading (``metadata`` and a line end) and, after one space, the
content. Each is encoded by itself, with the space that SentencePiece puts before every text; no
single text gives the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.model.control_tokens import ControlTokens, Encoded

ENCODING = "encoding"
"""Key of ``tokenizer_config.json`` that says how conversations are encoded."""
SEGMENTS = "segments"
"""Its value for this way."""
_HEADED = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


class SegmentedTokens(ControlTokens):
    """Control tokens between which headings and contents are encoded apart."""

    def encode(self, text: str) -> Encoded:
        """Encode text in which every control token is meant."""
        return self.encode_hidden(text)

    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        """``encode`` for many texts."""
        return [self.encode_hidden(text) for text in texts]

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """How many tokens ``encode`` gives, for many texts."""
        return [len(encoded.ids) for encoded in self.encode_batch(texts)]

    @property
    def opening(self) -> list[int]:
        """The heading of an answer that calls no tool; the model always writes it first."""
        return self.encode("\n").ids

    def _piece(
        self, text: str, start: int, end: int, ids: list[int], offsets: list[tuple[int, int]]
    ) -> None:
        heading = text.find("\n", start, end) + 1
        if not heading or not text.endswith(_HEADED, 0, start):
            return super()._piece(text, start, end, ids, offsets)
        super()._piece(text, start, heading, ids, offsets)
        content = heading + text.startswith(" ", heading, end)
        return super()._piece(text, content, end, ids, offsets)
