"""Vocabularies in GGUF: by scores what was told by merges, and refusals where that cannot be."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from gguf import TokenType
from tests.conftest import TEXTS, write_json
from tests.export.gguf_families import family_base
from tests.model.chatglm3.files import write_folder
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from tunewright.core.errors import ModelError
from tunewright.core.messages import Conversation, Message, conversation
from tunewright.core.settings import Settings
from tunewright.export.gguf.added import name_for
from tunewright.export.gguf.pieces import BYTES, merges_of, scores_of
from tunewright.export.gguf.read_tokenizer import write_tokenizer
from tunewright.export.gguf.segmented import as_one_text
from tunewright.export.gguf.vocabulary import Vocabulary, vocabulary_of
from tunewright.model.catalog import resolve_base
from tunewright.model.folders import ModelFolder
from tunewright.model.rendering import Renderer

DATA = os.environ.get("CHATGLM3_DATA", "")


def vocabulary(base: Path) -> Vocabulary:
    """What a GGUF file says of a base's tokenizer."""
    files = ModelFolder.read(base)
    template = files.chat_template
    assert template is not None
    return vocabulary_of(Renderer(base), files, template, files.config["vocab_size"])


def read_back(found: Vocabulary, folder: Path) -> Renderer:
    """The renderer of a file with this vocabulary."""
    named = {"eos": 0, "eot": 1, "eom": 2}
    own: dict[str, Any] = {
        "model": found.kind, "pre": found.rule, "tokens": found.tokens,
        "token_type": found.types, "merges": found.merges, "scores": found.scores,
        "add_space_prefix": found.spaced, "add_bos_token": found.framed,
        "bos_token_id": found.padding if found.start is None else found.start,
        "padding_token_id": found.padding,
        **{f"{key}_token_id": found.ends[n] for key, n in named.items() if n < len(found.ends)},
    }  # fmt: skip
    fields = {f"tokenizer.ggml.{key}": value for key, value in own.items()}
    fields |= {"tokenizer.chat_template": found.template, "general.name": found.named("a base")}
    folder.mkdir()
    ends = write_tokenizer(fields, folder)
    assert ends == found.ends
    write_json(folder / "config.json", {"eos_token_id": ends, "max_position_embeddings": 4096})
    return Renderer(folder)


def drawn(alphabet: Sequence[str], count: int = 2000) -> list[str]:
    """Texts of many kinds: runs, words of the tokens, and what is no token."""
    chance = random.Random(0)
    runs = [letter * length for length in range(1, 40) for letter in " -a.\n的"]
    words = ["".join(chance.choices(alphabet, k=chance.randint(1, 20))) for _ in range(count)]
    return [*runs, *words, *TEXTS, "naïve café №5 🙂", "  a\n b ", "\t\r\n", "日本語"]


@pytest.mark.parametrize("name", ["llama2", "mistral", "gemma3", "phi3"])
def test_scores_give_the_ids_that_merges_give(tmp_path: Path, name: str) -> None:
    base = family_base(name, tmp_path)
    found, own = vocabulary(base), Renderer(base)
    back = read_back(found, tmp_path / "back")
    assert found.kind == "llama"
    assert found.spaced == (name != "gemma3")
    types = [TokenType(found.types[own.tokenizer.token_to_id(t)]) for t in ("<unk>", "<0x0A>", "e")]
    assert types == [TokenType.UNKNOWN, TokenType.BYTE, TokenType.NORMAL]
    texts = drawn([text.replace("▁", " ") for text in found.tokens if not text.startswith("<")])
    for text in texts:
        ids = own.tokenizer.encode(text, add_special_tokens=False).ids
        assert back.tokenizer.encode(text, add_special_tokens=False).ids == ids, text
    asked = conversation(("user", " a  b\n"), ("assistant", "c"), ("user", "试用期"))
    assert back.prompt_ids(asked) == own.prompt_ids(asked)
    assert back.eos_ids == own.eos_ids


@pytest.fixture(scope="module")
def chatglm3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ChatGLM3 base, with the published vocabulary where it is at hand."""
    root = tmp_path_factory.mktemp("glm3")
    write_folder(root / "original")
    if DATA:
        pieces = (Path(DATA) / "tokenizer.model").read_bytes()
        (root / "original" / "tokenizer.model").write_bytes(pieces)
    settings = Settings(home=root / "home", offline=True)
    return resolve_base(str(root / "original"), settings).folder


def test_chatglm3_is_encoded_as_one_text(chatglm3: Path, tmp_path: Path) -> None:
    own, back = Renderer(chatglm3), read_back(vocabulary(chatglm3), tmp_path / "back")
    asked = [
        conversation(("user", "people and sophistication")),
        conversation(
            ("system", "你好"), ("user", "  a\n b "), ("assistant", "\nab"), ("user", "c")
        ),
        conversation(("user", ""), ("assistant", "aa"), ("user", "\n")),
    ]
    for one in asked:
        assert back.prompt_ids(one) == own.prompt_ids(one)
    assert "sop" in own.control_tokens
    assert "<sop>" in back.control_tokens
    assert back.eos_ids == own.eos_ids
    with pytest.raises(ModelError, match="in segments"):
        as_one_text("{{ messages }}")


@pytest.mark.skipif(not DATA, reason="CHATGLM3_DATA names no folder with golden conversations")
def test_golden_conversations_differ_only_where_they_spell_a_control_token(
    chatglm3: Path, tmp_path: Path
) -> None:
    back = read_back(vocabulary(chatglm3), tmp_path / "back").tokenizer
    template = Renderer(tmp_path / "back")._layouts
    golden = json.loads((Path(DATA) / "golden_chat_ids.json").read_text(encoding="utf-8"))
    other = []
    for row in golden:
        chat = Conversation(messages=tuple(Message(**message) for message in row["messages"]))
        layout = template.unmarked(chat, False)
        if layout.hidden or back.encode(layout.text).ids != row["input_ids"]:
            other.append("".join(message.content for message in chat.messages))
    assert len(golden) == 280
    assert len(other) == 1
    assert "<|user|>" in other[0]


def described(merges: list[tuple[str, str]]) -> dict[str, Any]:
    """A tokenizer of single letters and of these merges, as JSON."""
    texts = [*BYTES, *"▁abcd", *dict.fromkeys("".join(pair) for pair in merges)]
    model = models.BPE({text: n for n, text in enumerate(texts)}, merges, byte_fallback=True)
    found: dict[str, Any] = json.loads(Tokenizer(model).to_str())
    return found


def test_merges_come_back_from_their_scores() -> None:
    merges = [("a", "b"), ("c", "d"), ("ab", "c"), ("ab", "cd"), ("abc", "d")]
    scores = scores_of(described(merges), ())
    assert scores == {"ab": 0.0, "cd": -1.0, "abc": -2.0, "abcd": -3.0}
    again = merges_of({**dict.fromkeys("abcd", -9.0), **scores})
    assert again == [("a", "b"), ("c", "d"), ("ab", "c"), ("abc", "d"), ("ab", "cd")]


def test_a_token_that_stays_two_pieces_is_refused() -> None:
    # "abc" is made of "ab" and "c" alone, and in it "b" and "c" are merged before.
    with pytest.raises(ModelError, match="'abc' stays 'a' and 'bc'"):
        scores_of(described([("b", "c"), ("a", "b"), ("ab", "c")]), ())


def test_a_choice_that_scores_cannot_make_is_refused() -> None:
    # "abc" is made of two pairs, between which "cd" stands: ab·c·d would have to end as ab·cd.
    merges = [("a", "b"), ("b", "c"), ("a", "bc"), ("c", "d"), ("ab", "c")]
    with pytest.raises(ModelError, match="'c' and 'd' come before 'ab'"):
        scores_of(described(merges), ())
    in_order = [*merges[:3], merges[4], merges[3]]
    assert scores_of(described(in_order), ())["cd"] == -3.0


def test_runs_of_spaces_share_a_score() -> None:
    # As in Gemma: the longest piece grows first, which is the leftmost.
    runs = {"▁" * length for length in range(2, 9)}
    pairs = [("▁" * a, "▁" * b) for a in range(8, 0, -1) for b in range(8, 0, -1)]
    scores = scores_of(described([p for p in pairs if "".join(p) in runs]), ())
    assert scores == {**dict.fromkeys(runs, 0.0), "▁▁": -1.0}


def test_bytes_that_are_missing_are_refused() -> None:
    whole = described([("a", "b")])
    del whole["model"]["vocab"]["<0x0A>"]
    with pytest.raises(ModelError, match="it lacks <0x0A>"):
        scores_of(whole, ())


def changed(base: Path, change: Any) -> Path:
    """The base with another tokenizer."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    change(tokenizer)
    tokenizer.save(str(base / "tokenizer.json"))
    return base


def test_spaces_are_put_where_llama_cpp_puts_them(tmp_path: Path) -> None:
    def first(tokenizer: Tokenizer) -> None:
        tokenizer.normalizer = normalizers.Sequence([])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", split=False)

    def always(tokenizer: Tokenizer) -> None:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always", split=False)

    base = changed(family_base("llama2", tmp_path), first)
    found, own = vocabulary(base), Renderer(base)
    assert not found.spaced
    back = read_back(found, tmp_path / "back")
    asked = conversation(("user", "a  b"), ("assistant", " c"), ("user", "d"))
    assert back.prompt_ids(asked) == own.prompt_ids(asked)
    with pytest.raises(ModelError, match="puts spaces before them"):
        vocabulary(changed(base, always))


def test_white_space_behind_control_tokens_is_dropped_as_for_phi_3(tmp_path: Path) -> None:
    keeps = ("<unk>", "<s>", "<|endoftext|>")

    def stripping(tokenizer: Tokenizer) -> None:
        texts = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
        tokenizer.add_special_tokens(
            [AddedToken(t, special=True, normalized=False, rstrip=t not in keeps) for t in texts]
        )

    def some(tokenizer: Tokenizer) -> None:
        tokenizer.add_special_tokens([AddedToken("<|user|>", special=True, normalized=False)])

    base = changed(family_base("phi3", tmp_path), stripping)
    found, own = vocabulary(base), Renderer(base)
    assert found.stripping
    assert found.named("ft:x") == "ft:x (Phi-3)"
    asked = conversation(("user", "\n a "), ("assistant", " b"), ("user", "c"))
    assert read_back(found, tmp_path / "back").prompt_ids(asked) == own.prompt_ids(asked)
    with pytest.raises(ModelError, match="together with the white space beside it"):
        vocabulary(changed(base, some))


def test_names_do_not_make_llama_cpp_drop_white_space() -> None:
    assert name_for("ft:Phi-3-mini:acme", False) == "ft:Phi 3-mini:acme"
    assert name_for("phi3", False) == "phi 3"
    assert name_for("ft:Phi-3-mini:acme", True) == "ft:Phi-3-mini:acme"


def test_control_tokens_that_are_found_otherwise_are_refused(tmp_path: Path) -> None:
    def word(tokenizer: Tokenizer) -> None:
        tokenizer.add_special_tokens([AddedToken("</s>", special=True, single_word=True)])

    with pytest.raises(ModelError, match="only as a word of its own"):
        vocabulary(changed(family_base("llama2", tmp_path), word))


def test_a_vocabulary_is_plain_data(tmp_path: Path) -> None:
    found = vocabulary(family_base("glm4", tmp_path))
    assert found.kind == "gpt2"
    assert found.rule == "smaug-bpe"
    assert found.scores == []
    assert json.loads(json.dumps(asdict(found))) == asdict(found)
