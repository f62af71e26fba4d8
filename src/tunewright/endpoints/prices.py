"""How many tokens a text takes, roughly, and what tokens cost."""

from __future__ import annotations

import re
from typing import Final

from tunewright.config.generation import PriceConfig

# A large vocabulary takes about 0.6 tokens for a Chinese character and 0.3 for others
# (https://api-docs.deepseek.com/quick_start/token_usage), a small one more: nano, measured on
# statutes and on English pages, 1.0 and 0.46. A budget is kept by these, so they are rather high.
WIDE_TOKENS: Final = 1.0
"""Tokens of a Chinese, Japanese or Korean character."""
OTHER_TOKENS: Final = 0.4
"""Tokens of any other character."""
MESSAGE_TOKENS: Final = 4
"""Tokens that a chat template puts around a message."""
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_MILLION = 1_000_000


def text_tokens(text: str) -> int:
    """Tokens of a text by its characters, rather too many than too few."""
    wide = len(_WIDE.findall(text))
    return round(WIDE_TOKENS * wide + OTHER_TOKENS * (len(text) - wide) + 0.5)


def cost(prompt_tokens: int, completion_tokens: int, price: PriceConfig) -> float | None:
    """Money for tokens, or None without both prices."""
    if price.input is None or price.output is None:
        return None
    return (prompt_tokens * price.input + completion_tokens * price.output) / _MILLION
