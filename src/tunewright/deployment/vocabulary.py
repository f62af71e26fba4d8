"""A base's tokens as bytes, and the forms that answers over them can be held to.

Forms are worked out by llguidance (https://github.com/guidance-ai/llguidance): which tokens keep
an answer within a JSON schema or a grammar, token by token, on threads beside the one that
generates.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from tunewright.deployment.replies import RequestError
from tunewright.model.rendering import Renderer

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

_THREADS = 2
# As the usual templates write JSON. Room for any whitespace is room for an answer without end.
JSON_STYLE: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": True,
}


class Vocabulary:
    """The tokens of one base; what takes long to make is made on first use.

    Args:
        renderer: of the base.
        width: of its logits; may be more than its tokenizer has tokens.
    """

    def __init__(self, renderer: Renderer, width: int) -> None:
        self._renderer = renderer
        self._width = width
        self._lock = threading.Lock()
        self._made: LLTokenizer | None = None
        self._unfit = ""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="forms")

    def spelled(self, token: int) -> bytes:
        """The bytes that a token stands for; they may be a part of a character."""
        tokens = self._tokens()
        if tokens is None or token >= tokens.vocab_size:
            return self._renderer.tokenizer.decode([token], skip_special_tokens=False).encode()
        return tokens.decode_bytes([token])

    def schema(self, schema: Mapping[str, Any], param: str) -> Form:
        """The form of JSON that matches a schema.

        Raises:
            RequestError: 400 naming ``param``: a schema that is wrong, too large, or not supported.
        """
        try:
            grammar = LLMatcher.grammar_from_json_schema(dict(schema), overrides=JSON_STYLE)
        except ValueError as error:
            raise _refused(str(error), param) from None
        return self.form(grammar, param)

    def form(self, grammar: str, param: str) -> Form:
        """The form that a grammar describes.

        Args:
            grammar: llguidance's own, or Lark's notation.
            param: what a refusal names.

        Raises:
            RequestError: 400.
        """
        tokens = self._tokens()
        if tokens is None:
            raise _refused(f"not possible with this base's tokenizer ({self._unfit})", param)
        limits = LLParserLimits(verbose_errors=False)
        matcher = LLMatcher(tokens, grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise _refused(matcher.get_error(), param)
        return Form(matcher, self._threads)

    def _tokens(self) -> LLTokenizer | None:
        with self._lock:
            if self._made is None and not self._unfit:
                try:
                    self._made = LLTokenizer(
                        self._renderer.tokenizer.to_str(),
                        n_vocab=max(self._width, self._renderer.tokenizer.get_vocab_size()),
                        eos_token=sorted(self._renderer.eos_ids),
                    )
                except ValueError as error:
                    self._unfit = str(error)
            return self._made


class Form:
    """A form that answers can be held to.

    Args:
        matcher: at the beginning of an answer.
        threads: where masks are worked out.
    """

    def __init__(self, matcher: LLMatcher, threads: ThreadPoolExecutor) -> None:
        self._matcher = matcher
        self._threads = threads

    def begin(self) -> FormState:
        """The state of one answer; its first mask is being made already."""
        state = FormState(self._matcher.deep_copy(), self._threads)
        state.prepare()
        return state


class FormState:
    """Where one answer is in its form.

    Args:
        matcher: of this answer alone.
        threads: where masks are worked out.
    """

    def __init__(self, matcher: LLMatcher, threads: ThreadPoolExecutor) -> None:
        self._matcher = matcher
        self._threads = threads
        self._mask: Future[bytes] | None = None

    def prepare(self) -> None:
        """Start working out which tokens may come next."""
        if self._mask is None:
            self._mask = self._threads.submit(self._matcher.compute_bitmask)

    def open(self) -> bytes:
        """One bit per token, lowest first: whether it may come next.

        Raises:
            RuntimeError: the form turned out too complex.
        """
        self.prepare()
        mask = self._waited()
        self._check()
        return mask

    def take(self, token: int) -> bool:
        """Go on with an open token; True when the form is complete.

        Raises:
            RuntimeError: the form turned out too complex.
        """
        self._waited()
        self._matcher.consume_token(token)
        self._check()
        return bool(self._matcher.is_stopped())

    def _waited(self) -> bytes:
        """The mask once it is there; nobody else may ask the matcher until then."""
        mask, self._mask = self._mask, None
        return b"" if mask is None else mask.result()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise RuntimeError(self._matcher.get_error())


def _refused(problem: str, param: str) -> RequestError:
    text = problem.strip().splitlines()[0][:300] if problem.strip() else "not a valid schema"
    return RequestError(400, f"{param}: {text}", param=param, code="invalid_value")
