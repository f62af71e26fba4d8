"""Replies as models really write them."""

import pytest

from tunewright.data.generate.replies import read_reply, reply_schema

ONE = '{"question": "问？", "answer": "答。"}'
FIELDS = ("question", "answer")
RESULT = {"question": "问？", "answer": "答。"}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f'{{"items": [{ONE}, {ONE}]}}', 2),
        (f'Sure! {{count}} of them:\n```json\n{{"items": [{ONE}]}}\n```\nAnything else?', 1),
        (f'<think>maybe {{"items": []}}?</think>{{"items": [{ONE}]}}', 1),
        (f"[{ONE}, {ONE}, {ONE}]", 3),
        (f"Here: {ONE}", 1),
        (f'{{"items": [{ONE}]', 1),
        ('{"items": [{"question": " 问？\\r\\n", "answer": "\\u0007答。", "more": 1}]}', 1),
    ],
)
def test_results_are_found(text: str, count: int) -> None:
    assert read_reply(text, FIELDS) == [RESULT] * count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no complete JSON"),
        ("I cannot do that.", "no complete JSON"),
        (f'{{"items": [{ONE}, {{"question": "cut o', "no list 'items'"),
        ('{"items": [{"question": "问？"}]}', "item 1 has no text 'answer'"),
        ('{"items": [{"question": "问？", "answer": 7}]}', "item 1 has no text 'answer'"),
        ('{"items": ["问？"]}', "item 1 is not an object"),
        ('{"items": []}', "no list 'items'"),
        ("[" * 100_000, "no complete JSON"),
    ],
)
def test_what_is_not_of_the_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_reply(text, FIELDS)


def test_the_schema_is_strict() -> None:
    items = reply_schema(FIELDS)["properties"]["items"]["items"]
    assert items["required"] == ["question", "answer"]
    assert items["additionalProperties"] is False
