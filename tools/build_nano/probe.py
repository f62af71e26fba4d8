"""The general probe: questions that training never saw, and the share answered exactly."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from .corpus import Example, held_out_examples, question_key
from .model import Nano
from .tokenizer import END, START, special_ids

SIZE = 160
LONGEST = 48
SKIPPED = ("meaning_generic",)
"""Kinds with one vague answer for all: they say nothing about what the model knows."""
WEIGHTY = ("arithmetic", "facts", "knowledge", "smalltalk", "translation", "meaning_topic")
"""Kinds taken three at a time, where others are taken one at a time."""


def normalise(text: str) -> str:
    """`text` as it is compared: width and case folded, ends stripped, no final punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    while folded and unicodedata.category(folded[-1])[0] == "P":
        folded = folded[:-1].rstrip()
    return folded


def build(seed: int, size: int = SIZE, pool: int = 4000) -> list[Example]:
    """Held-out examples, balanced over kinds and half in each language."""
    groups: dict[tuple[str, str], list[Example]] = defaultdict(list)
    seen: set[str] = set()
    source = held_out_examples(seed)
    for _ in range(pool):
        example = next(source)
        key = question_key(example.question)
        if example.kind not in SKIPPED and key not in seen:
            seen.add(key)
            groups[example.language, example.kind].append(example)
    chosen: list[Example] = []
    for language in ("zh", "en"):
        mine = [group for (spoken, _), group in sorted(groups.items()) if spoken == language]
        wanted = len(chosen) + size // 2
        while len(chosen) < wanted and any(mine):
            for group in mine:
                take = 3 if group and group[0].kind in WEIGHTY else 1
                chosen += group[: min(take, wanted - len(chosen))]
                del group[:take]
    return chosen


def write(path: Path, examples: list[Example]) -> None:
    """Write examples as JSON lines of kind, language and messages."""
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            row = {"kind": example.kind, "language": example.language, "messages": example.messages}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read(path: Path) -> list[Example]:
    """The examples that `write` wrote."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Example(row["kind"], row["messages"]) for row in rows]


def prompt(messages: list[dict[str, str]]) -> str:
    """Chat text up to where the assistant speaks."""
    turns = [f"{START}{m['role']}\n{m['content']}{END}\n" for m in messages]
    return "".join(turns) + f"{START}assistant\n"


@torch.no_grad()
def answers(model: Nano, tokenizer: Tokenizer, examples: list[Example]) -> list[str]:
    """Greedy answers; prompts of one length are decoded together, so nothing is padded."""
    stop = special_ids(tokenizer)[END]
    prompts = [
        tokenizer.encode(prompt(e.messages[:-1]), add_special_tokens=False).ids for e in examples
    ]
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, ids in enumerate(prompts):
        by_length[len(ids)].append(index)
    texts = [""] * len(examples)
    for indices in by_length.values():
        rows = torch.tensor([prompts[i] for i in indices])
        start = rows.shape[1]
        for _ in range(LONGEST):
            last = model.hidden_states(rows)[:, -1]
            rows = functional.pad(rows, (0, 1))
            rows[:, -1] = model.logits(last).argmax(-1)
            if rows[:, start:].eq(stop).any(1).all():
                break
        for i, row in zip(indices, rows[:, start:].tolist(), strict=True):
            ended = stop in row
            texts[i] = tokenizer.decode(row[: row.index(stop)] if ended else row)
            texts[i] += "" if ended else " [no end]"
    return texts


def score(model: Nano, tokenizer: Tokenizer, examples: list[Example]) -> dict[str, Any]:
    """Exact share overall, by kind and by language, and the wrong answers."""
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong = []
    for example, text in zip(examples, answers(model, tokenizer, examples), strict=True):
        good = normalise(text) == normalise(example.answer)
        for name in ("all", example.language, f"{example.language}/{example.kind}"):
            total[name] += 1
            right[name] += good
        if not good:
            wrong.append(
                {
                    "kind": example.kind,
                    "question": example.question,
                    "expected": example.answer,
                    "got": text,
                }
            )
    return {
        "score": round(right["all"] / max(total["all"], 1), 4),
        "by": {name: f"{right[name]}/{total[name]}" for name in sorted(total)},
        "wrong": wrong,
    }
