"""The engine spells the tokens of every family, so that answers can be held to a schema."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.model.family_bases import SPECIMENS, write_base

from tunewright.deployment.vocabulary import Vocabulary
from tunewright.model.rendering import Renderer

TEXTS = ('{"a": [1, "押金 x 🙂"]}', "Three months  at\nmost.\t«ça» e\u0301", "7 日内退还")


@pytest.mark.parametrize("name", SPECIMENS)
def test_tokens_spell_what_they_stand_for(name: str, tmp_path: Path) -> None:
    specimen = SPECIMENS[name]
    renderer = Renderer(write_base(specimen, tmp_path / name, weights=False))
    vocabulary = Vocabulary(renderer, renderer.tokenizer.get_vocab_size())
    for text in TEXTS:
        tokens = renderer.tokenizer.encode(text, add_special_tokens=False).ids
        spelled = b"".join(map(vocabulary.spelled, tokens)).decode()
        if specimen.tokenizer == "bytes":
            text = text.replace("e\u0301", "\u00e9")  # its normal form
        # Tokenizers made from sentencepiece files put a space before every text.
        assert spelled == (f" {text}" if specimen.tokenizer == "llama" else text)
