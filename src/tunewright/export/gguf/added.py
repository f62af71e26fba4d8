"""Tokens that are looked for in texts before all else, with what llama.cpp cannot say of them.

A GGUF file gives such a token a type and no flags. llama.cpp finds it anywhere, as it is spelled,
and keeps the white space around it; except that a model whose name holds ``phi-3`` is known to
drop the white space behind most of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from gguf import TokenType
from tokenizers import AddedToken, Tokenizer

from tunewright.core.errors import ModelError
from tunewright.export.gguf.architecture import CONVERT
from tunewright.export.gguf.pieces import SPACE
from tunewright.model.chat_template import ChatTemplate

KEEPING = frozenset({"<unk>", "<s>", "<|endoftext|>"})
"""Phi-3's tokens that keep the white space behind them."""
_PHI3 = ("phi-3", "phi3")
_PROBE = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
          {"role": "user", "content": "c"})  # fmt: skip


def strips(tokenizer: Tokenizer, template: ChatTemplate, renamed: Collection[str]) -> bool:
    """Whether white space behind control tokens is dropped, as llama.cpp does it for Phi-3.

    Args:
        tokenizer: of the base.
        template: of the base.
        renamed: tokens that get another spelling in the file, which no text holds by chance.

    Raises:
        ModelError: tokens that llama.cpp would find elsewhere.
    """
    added = list(tokenizer.get_added_tokens_decoder().values())
    for token in added:
        if token.single_word and token.content not in renamed:
            raise _refused(token.content, "only as a word of its own")
        if token.normalized and _normalised(tokenizer, token.content) != token.content:
            raise _refused(token.content, "after normalisation")
    stripping = [token for token in added if token.lstrip or token.rstrip]
    if stripping and _as_phi3(added):
        return True
    if stripping:
        text = template.render(_PROBE, add_generation_prompt=True)
        for token in stripping:
            _refuse_stripped(token, text)
    return False


def name_for(name: str, stripping: bool) -> str:
    """A model's name by which llama.cpp drops white space exactly where the base does."""
    if stripping:
        return name if taken_for_phi3(name) else f"{name} (Phi-3)"
    return re.sub("(phi)-?(3)", r"\1 \2", name, flags=re.IGNORECASE)


def taken_for_phi3(name: str) -> bool:
    """Whether llama.cpp drops white space in a model of this name."""
    return any(part in name.lower() for part in _PHI3)


def type_of(token: AddedToken, mergeable: Mapping[str, int], unknown: str | None) -> TokenType:
    """llama.cpp's type of such a token.

    Runs of spaces that are tokens stay ordinary ones: texts hold spaces, not the sign that stands
    for them, so that only merging finds them.
    """
    if token.content == unknown:
        return TokenType.UNKNOWN
    if token.special:
        return TokenType.CONTROL
    inner = SPACE in token.content and token.content in mergeable
    return TokenType.NORMAL if inner else TokenType.USER_DEFINED


def _as_phi3(added: Collection[AddedToken]) -> bool:
    texts = {token.content for token in added}
    right = {token.content for token in added if token.rstrip}
    left = any(token.lstrip for token in added)
    return not left and texts >= {*KEEPING, "</s>"} and right == texts - KEEPING


def _refuse_stripped(token: AddedToken, text: str) -> None:
    for before, after in zip(
        text.split(token.content)[:-1], text.split(token.content)[1:], strict=True
    ):
        if (token.lstrip and before[-1:].isspace()) or (token.rstrip and after[:1].isspace()):
            raise _refused(token.content, "together with the white space beside it")


def _normalised(tokenizer: Tokenizer, text: str) -> str:
    return text if tokenizer.normalizer is None else str(tokenizer.normalizer.normalize_str(text))


def _refused(text: str, how: str) -> ModelError:
    return ModelError(
        f"this tokenizer finds {text!r} {how}, llama.cpp wherever it is spelled", CONVERT
    )
