"""Tokens of a prompt, estimated or counted."""

from pathlib import Path

from tunewright.config.generation import QuestionsConfig
from tunewright.core.settings import Settings
from tunewright.data.generate.estimate import token_counter


def config(endpoint: str, **values: object) -> QuestionsConfig:
    return QuestionsConfig.build({"endpoint": endpoint, "model": "m", "files": ("a.md",), **values})


def test_tokens_are_estimated_by_characters_or_counted_by_a_base(tmp_path: Path) -> None:
    settings = Settings(tmp_path, offline=True)
    by_characters = token_counter(config("http://x.example"), settings)
    by_base = token_counter(config("http://x.example", base="nano"), settings)
    for text in (
        "The tenant may end the lease with thirty days' written notice, unless both agree." * 9,
        "押金应当在租期结束后七日内退还给承租人，出租人只能扣除有凭证的维修费。" * 9,
    ):
        messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": text})
        counted = by_base(messages)
        assert counted != by_characters(messages)
        assert 0.6 * counted < by_characters(messages) < 1.8 * counted
