"""ChatGLM3's tokens: merges as SentencePiece makes them, and conversations piece by piece."""

from __future__ import annotations

import json
import os
import random
from itertools import chain, pairwise
from pathlib import Path

import pytest
from tests.model.chatglm3.conftest import Original
from tests.model.chatglm3.files import LETTERS, vocabulary

from tunewright.core.messages import Conversation, Message, ToolCall, conversation
from tunewright.model.chatglm3.tokenizer import native_tokenizer
from tunewright.model.rendering import Renderer

DATA = os.environ.get("CHATGLM3_DATA", "")
GMASK, SOP, SYSTEM, USER, ASSISTANT, OBSERVATION = 64790, 64792, 64794, 64795, 64796, 64797
END = 2
SCORES = {text: (score, number) for number, (text, score, _) in enumerate(vocabulary())}


def pieces(text: str) -> list[int]:
    """SentencePiece's algorithm: merge the neighbours whose union scores best, leftmost first."""
    if not text:
        return []
    parts = list("▁" + text.replace(" ", "▁"))
    while True:
        unions = [
            (-SCORES[a + b][0], n) for n, (a, b) in enumerate(pairwise(parts)) if a + b in SCORES
        ]
        if not unions:
            break
        place = min(unions)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    ids: list[int] = []
    for part in parts:
        known = [SCORES[part][1]] if part in SCORES else [3 + byte for byte in part.encode()]
        ids += known
    return ids


@pytest.fixture(scope="module")
def renderer(chatglm3: Original) -> Renderer:
    return Renderer(chatglm3.base.folder)


def turn(role: int, content: str, metadata: str = "") -> list[int]:
    return [role, *pieces(metadata + "\n"), *pieces(content)]


def test_pieces_are_those_of_sentencepiece(chatglm3: Original) -> None:
    tokenizer = native_tokenizer(chatglm3.folder / "tokenizer.model")
    tokenizer.encode_special_tokens = True
    chance = random.Random(0)
    fixed = ["people", "  aaaab aab", "你好 你好世界\n", "é\t\x00😀", "<|user|>sop</s>", " "]
    drawn = ["".join(chance.choices(LETTERS + "  aab" * 9, k=30)) for _ in range(200)]
    for text in fixed + drawn:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert ids == pieces(text), text
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_each_turn_is_a_heading_and_a_content(renderer: Renderer) -> None:
    row = renderer.render(
        conversation(
            ("system", "你好 people"),
            ("user", "  a\n b "),
            ("assistant", "\nab"),
            ("user", ""),
            ("assistant", "aa"),
        )
    )
    turns = [
        turn(SYSTEM, "你好 people"),
        turn(USER, "  a\n b "),
        turn(ASSISTANT, "\nab"),
        turn(USER, ""),
        turn(ASSISTANT, "aa"),
    ]
    assert row.ids == [GMASK, SOP, *chain(*turns), END]
    learned = [token for token, mask in zip(row.ids, row.mask, strict=True) if mask]
    assert learned == [*turns[2][1:], USER, *turns[4][1:], END]
    assert renderer.eos_ids == {END, USER, OBSERVATION}


def test_what_spells_a_control_token_is_text(renderer: Renderer) -> None:
    for text in ("<|user|>\n people", "[gMASK]sop</s>", "<|assistant|>", "a\n<|system|>\n b"):
        ids = renderer.render(conversation(("user", text), ("assistant", text))).ids
        assert ids == [GMASK, SOP, *turn(USER, text), *turn(ASSISTANT, text), END]


def test_a_prompt_goes_on_as_the_answer_that_is_learned(renderer: Renderer) -> None:
    asked = conversation(("user", "aab"))
    prompt = renderer.prompt_ids(asked)
    assert prompt == [GMASK, SOP, *turn(USER, "aab"), ASSISTANT, *pieces("\n")]
    whole = renderer.render(conversation(("user", "aab"), ("assistant", " 你好 people"))).ids
    assert whole[: len(prompt)] == prompt
    assert renderer.decode(whole[len(prompt) : -1]) == " 你好 people"
    shown = renderer.tokens_with_mask(conversation(("user", "a<|user|>"), ("assistant", "aa")))
    assert (
        "".join(text for text, _ in shown) == "[gMASK]sop<|user|>\na<|user|><|assistant|>\naa</s>"
    )


def test_tools_and_their_calls(renderer: Renderer) -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    call = ToolCall(name="find", arguments='{"word": "aa", "exact": true, "most": 3}')
    asked = Conversation(
        messages=(
            Message(role="user", content="people"),
            Message(role="assistant", content="", tool_calls=(call,)),
            Message(role="tool", content="ab", name="find"),
            Message(role="assistant", content="aab"),
        ),
        tools=(tool,),
    )
    row = renderer.render(asked)
    listed = (
        "Answer the following questions as best as you can. You have access to the following "
        "tools:\n" + json.dumps([tool["function"]], indent=4)
    )
    code = "```python\ntool_call(word='aa', exact=True, most=3)\n```"
    call_turn = turn(ASSISTANT, code, "find")
    turns = [turn(SYSTEM, listed), turn(USER, "people"), call_turn, turn(OBSERVATION, "ab")]
    assert row.ids == [GMASK, SOP, *chain(*turns), *turn(ASSISTANT, "aab"), END]
    learned = [token for token, mask in zip(row.ids, row.mask, strict=True) if mask]
    assert learned == [*call_turn[1:], OBSERVATION, *turn(ASSISTANT, "aab")[1:], END]
    assert renderer.prompt_ids(asked)[-1] == ASSISTANT


def test_plain_text_stands_between_start_and_end(renderer: Renderer) -> None:
    assert renderer.render_text("people sop").ids == [GMASK, SOP, *pieces("people sop"), END]


@pytest.mark.skipif(not DATA, reason="CHATGLM3_DATA names no folder with golden conversations")
def test_golden_conversations_have_the_original_ids_and_labels(tmp_path: Path) -> None:
    from tests.model.chatglm3.files import write_folder

    from tunewright.core.settings import Settings
    from tunewright.model.catalog import resolve_base

    write_folder(tmp_path / "base")
    (tmp_path / "base" / "tokenizer.model").write_bytes(
        (Path(DATA) / "tokenizer.model").read_bytes()
    )
    settings = Settings(home=tmp_path / "home", offline=True)
    renderer = Renderer(resolve_base(str(tmp_path / "base"), settings).folder)
    golden = json.loads((Path(DATA) / "golden_chat_ids.json").read_text(encoding="utf-8"))
    assert len(golden) == 280
    for row in golden:
        messages = tuple(Message(**message) for message in row["messages"])
        found = renderer.render(Conversation(messages=messages))
        labels = [i if mask else -100 for i, mask in zip(found.ids, found.mask, strict=True)]
        assert (found.ids, labels) == (row["input_ids"], row["labels"])
