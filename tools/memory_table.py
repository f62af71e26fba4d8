"""Write the tables of docs/memory.md: what fits on which GPU, by the planner.

``--check`` writes nothing and fails when a page is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tunewright.config.training import TrainConfig
from tunewright.model.known_shapes import known_shapes
from tunewright.model.shapes import Shape
from tunewright.training.estimates import Batch, estimate

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"en": ROOT / "docs" / "memory.md", "zh": ROOT / "docs" / "memory.zh-CN.md"}
BEGIN, END = "<!-- tables: made by python -m tools.memory_table -->\n", "<!-- end of tables -->\n"
CARDS = (8, 12, 16, 24, 48, 80, 141)
TOKENS = (512, 2048, 8192)
LEARNT = 0.5
"""Share of the tokens that is learnt; the logits grow with it."""
WAYS: dict[str, dict[str, str]] = {
    "full": {"tuner": "full"},
    "LoRA": {"tuner": "lora"},
    "QLoRA": {"tuner": "lora", "quantize": "nf4"},
}
HEADINGS = {
    "en": ("base", "way", "{tokens:,} tokens", "smallest card for {tokens:,}", "none"),
    "zh": ("基座", "方式", "{tokens:,} token", "{tokens:,} 所需的最小显存", "无"),
}


def peak(shape: Shape, way: str, tokens: int, checkpointing: str) -> int:
    """Bytes at most, on a GPU, in bfloat16, with LoRA of rank 16 on all linear layers."""
    recipe = {"dataset": "any", "memory": {"checkpointing": checkpointing}, **WAYS[way]}
    batch = Batch(tokens, round(LEARNT * tokens), tokens)
    return estimate(shape, TrainConfig.build(recipe), batch, "cuda", "bfloat16").memory.peak


def card(kept: int, recomputed: int) -> str:
    """The smallest card that holds either; a star where only recomputing makes it fit."""
    for size in CARDS:
        if kept <= size * 1e9:
            return f"{size} GB"
        if recomputed <= size * 1e9:
            return f"{size} GB *"
    return ""


def table(language: str) -> str:
    """Markdown: peaks with kept and with recomputed activations, and the card they need."""
    base, way_name, column, needed, nothing = HEADINGS[language]
    heads = [base, way_name, *(column.format(tokens=tokens) for tokens in TOKENS)]
    heads += [needed.format(tokens=tokens) for tokens in TOKENS]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * 2}{'---:|' * (len(heads) - 2)}"]
    for name, shape in known_shapes().items():
        for way in WAYS:
            pairs = [
                (peak(shape, way, tokens, "none"), peak(shape, way, tokens, "full"))
                for tokens in TOKENS
            ]
            cells = [f"{kept / 1e9:.1f} / {again / 1e9:.1f}" for kept, again in pairs]
            cells += [card(*pair) or nothing for pair in pairs]
            lines.append(f"| {name} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page(language: str) -> str:
    """A page as it should be."""
    text = PAGES[language].read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table(language) + END + after


def main() -> None:
    """Write the pages, or compare them with ``--check``."""
    for language, path in PAGES.items():
        text = page(language)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            raise SystemExit(
                f"{path.relative_to(ROOT)} is out of date; run: python -m tools.memory_table"
            )


if __name__ == "__main__":
    main()
