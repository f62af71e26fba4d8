"""Chat templates: Jinja from a model's folder, rendered in a sandbox with bounded work.

The environment offers what the transformers library documents for chat templates, so that the
same template gives the same text. A template is somebody else's program: it may not reach
Python (immutable sandbox), loop for ever (counted steps) or grow without end (counted text).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from tunewright.core.errors import DataError, ModelError
from tunewright.model.message_shapes import shape_for

PLAIN_TEMPLATE_VERSION = 1
PLAIN_TEMPLATE = """\
{%- if bos_token is defined %}{{ bos_token }}{% endif -%}
{%- for message in messages -%}
{{- '### ' + message.role | capitalize + ':\\n' + message.content -}}
{{- eos_token if message.role == 'assistant' else '' -}}
{{- '\\n\\n' if not loop.last or add_generation_prompt else '' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Assistant:\\n' -}}{%- endif -%}
"""
"""For bases without a template of their own: headings in plain text, no new tokens."""

_MOST_STEPS = 500_000
_MOST_TEXT = 16 * 2**20
_LARGEST_INDENT = 1_000_000
_TICK = "tunewright_tick"


class ChatTemplate:
    """One compiled template.

    Args:
        source: the Jinja source.
        variables: names that the template may use besides the messages, e.g. ``bos_token``.

    Raises:
        ModelError: when the source is no valid template.
    """

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        self.source = source
        self._variables = dict(variables)
        environment = _Environment()
        try:
            tree = environment.parse(source)
            self._shape = shape_for(source)
            self._template = environment.from_string(_Guard().visit(tree))
        except (jinja2.TemplateError, RecursionError) as error:
            raise ModelError(f"the model's chat template is not valid: {error}") from None

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The text of a conversation and the tools that it offers.

        Raises:
            DataError: the template refuses this conversation.
            ModelError: the template tried something that the sandbox forbids.
        """
        tick = _Counter()
        parts: list[str] = []
        size = 0
        messages, tools = self._shape(messages, tools)
        try:
            for part in self._template.generate(
                self._variables,
                messages=messages,
                add_generation_prompt=add_generation_prompt,
                tools=tools,
                documents=None,
                **{_TICK: tick},
            ):
                parts.append(part)
                size += len(part)
                if size > _MOST_TEXT:
                    raise SecurityError(f"more than {_MOST_TEXT >> 20} MiB of text")
        except SecurityError as error:
            raise ModelError(f"the model's chat template was stopped: {error}") from None
        except jinja2.TemplateError as error:
            raise DataError(
                f"the model's chat template refuses this conversation: {error}"
            ) from None
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError,
                MemoryError, OverflowError, ZeroDivisionError) as error:  # fmt: skip
            raise DataError(
                f"the model's chat template failed on this conversation: {error}"
            ) from None
        return "".join(parts)


class _Counter:
    """Called once per loop turn or macro call; ends a template that does not end by itself."""

    def __init__(self) -> None:
        self._left = _MOST_STEPS

    def __call__(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise SecurityError(f"more than {_MOST_STEPS} steps")


class _GenerationBlock(Extension):
    """``{% generation %}…{% endgeneration %}`` marks the answer; the text inside is unchanged."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Put the block's body in its place."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """The immutable sandbox, with arithmetic and calls that cannot allocate without bound."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[LoopControlExtension, _GenerationBlock],
        )
        self.filters["tojson"] = _to_json
        self.filters["replace"] = _replace
        self.filters["join"] = _join
        # These make text or lists of any wanted size out of nothing.
        for name in ("batch", "center", "format", "indent", "slice", "wordwrap"):
            del self.filters[name]
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse results that would fill the memory."""
        if operator == "%" and isinstance(left, str | bytes):
            _plain_pattern(str(left))
        elif operator == "**":
            _bounded(_size(left))
            _bounded(_size(right) * 10_000)
        elif operator == "*":
            _bounded(_size(left) * _size(right))
        elif operator == "+" and hasattr(left, "__len__"):
            _bounded(_size(left) + _size(right))
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """As the sandbox; text formatting only with small widths."""
        if isinstance(obj, str) and attr in {"format", "format_map"}:
            _plain_pattern(obj)
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """As the sandbox; absurd sizes are refused, e.g. ``'x'.ljust(10**9)``."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, int):
                _bounded(abs(value))
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return _replace(owner, *args, **kwargs)
        if isinstance(owner, str) and name == "join":
            return _join(args[0] if args else (), owner)
        return super().call(__context, __obj, *args, **kwargs)


class _Guard(NodeTransformer):
    """Rewrites a parsed template so that loops are counted and ``~`` is measured."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        """Count each turn."""
        self._count(node)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:  # noqa: N802
        """Count each call, for macros can call themselves."""
        self._count(node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        """Join through a function that knows the largest size."""
        self.generic_visit(node)
        pieces = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(pieces, "join", [], [], None, None, lineno=node.lineno)

    def visit_Name(self, node: nodes.Name) -> nodes.Name:  # noqa: N802
        """The counter's name is not the template's to set."""
        if node.name == _TICK:
            raise jinja2.TemplateError(f"{_TICK} is not a name for templates")
        return node

    def _count(self, node: nodes.For | nodes.Macro) -> None:
        self.generic_visit(node)
        line = node.lineno
        name = nodes.Name(_TICK, "load", lineno=line)
        call = nodes.Call(name, [], [], None, None, lineno=line)
        node.body.insert(0, nodes.ExprStmt(call, lineno=line))


def _bounded(size: float) -> None:
    if size > _MOST_TEXT:
        raise SecurityError("it asks for too much memory")


def _size(value: Any) -> float:
    if isinstance(value, int | float):
        return abs(value)
    return len(value) if hasattr(value, "__len__") else 1


def _plain_pattern(pattern: str) -> None:
    if re.search(r"\d{4}|\*", pattern):
        raise SecurityError(f"text format {pattern[:40]!r} asks for a large width")


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    _bounded(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def _join(values: Any, separator: str = "", attribute: str | None = None) -> str:
    pieces = [str(v if attribute is None else v.get(attribute, "")) for v in values]
    _bounded(sum(map(len, pieces)) + len(separator) * len(pieces))
    return separator.join(pieces)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without HTML escapes, as chat templates expect it."""
    if indent is not None:
        _bounded(indent * _LARGEST_INDENT)
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
