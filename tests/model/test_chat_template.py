"""Chat templates are other people's programs: they reach nothing and end."""

from __future__ import annotations

import time

import pytest

from tunewright.core.errors import DataError, ModelError
from tunewright.model.chat_template import ChatTemplate

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def render(source: str, **variables: str) -> str:
    return ChatTemplate(source, variables).render(TURNS, False)


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__ }}{{ (''.__class__).mro() }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ self.__init__.__globals__ }}{{ self.__init__.__globals__.os.popen('id').read() }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}",
        "{% set x = messages.append({'role': 'system'}) %}",
        "{% set x = messages[0].update({'role': 'system'}) %}",
        "{% set f = '{0.__class__.__init__}'.format %}{{ f(messages) }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    ],
)
def test_the_sandbox_holds(source: str) -> None:
    # A forbidden attribute is refused, or reads as undefined and shows nothing.
    try:
        shown = render(source)
    except (ModelError, DataError):
        shown = ""
    assert shown == ""


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{{ 'x' * 10**10 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% set n = namespace(x='xx') %}"
        "{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='xx') %}"
        "{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x * 2 %}{% endfor %}",
        "{{ 'x'.ljust(10**9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ([1] * 1000000) | join('b' * 1000000) }}",
        "{{ ('b' * 1000000).join(['x'] * 1000000) }}",
        "{{ messages | tojson(indent=1000000000) }}",
        "{% for i in range(5000) %}{{ 'x' * 10000 }}{% endfor %}",
        "{{ lipsum(n=10000000) }}",
    ],
)
def test_bombs_are_defused_quickly(source: str) -> None:
    started = time.monotonic()
    with pytest.raises((ModelError, DataError)):
        render(source)
    # No measurement: only that it ends at all, long before the test's own limit.
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "source", ["{% for", "{{ 1 | nothing }}", "{% unknown %}", "{{ " + "(" * 500]
)
def test_broken_templates_are_named(source: str) -> None:
    with pytest.raises(ModelError, match="not valid"):
        ChatTemplate(source, {})


def test_a_refusal_is_the_datas_fault() -> None:
    with pytest.raises(DataError, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}")


def test_what_transformers_offers_is_there() -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}"
        "{{ m | tojson }}{% generation %}!{% endgeneration %}{% endfor %}"
        "{{ strftime_now('%Y') | length }}{{ tools is none }}{{ 'a' ~ 1 ~ none }}"
        "{{ ['x', 'y'] | join('-') }}{{ 'abc'.replace('b', '') }}{{ 'été <&>' | tojson }}"
    )
    assert render(source, bos_token="<s>") == (
        '<s>{"role": "user", "content": "q"}!4Truea1Nonex-yac"été <&>"'
    )
