"""The tokenizer: byte-level BPE in which every Chinese character and every digit is one token.

The pre-tokenizer is the pattern that Qwen2 published, so servers and converters that know `qwen2`
split text as we do. It does not isolate Chinese characters by itself; the merge table does: for
each character we add the merges of its own UTF-8 bytes and none that join two characters.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .corpus import Mix, stream
from .corpus.characters import common_characters
from .corpus.example import CJK, table

VOCABULARY = 6144
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = (END_OF_TEXT, START, END)
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MARKS = "，。？！：；、“”‘’（）《》【】…—×÷￥％～·℃"
COMMON_ENGLISH = """
system user assistant the of and to in is that it for was on are as with his they at be this from
have or by one had not but what all were when we there can an your which their said if do will each
about how up out them then she many some so these would other into has more her two like him see
time could no make than first been its who now people my made over did down only way find use may
water long little very after words called just where most know get through back much before go good
new write our used me man too any day same right look think also around another came come work three
word must because does part even place well such here take why things help put years different away
again off went old number great tell men say small every found still between name should home big
give air line set own under read last never us left end along while might next sound below saw
something thought both few those always looked show large often together asked house don't world
going want school important until form food keep children feet land side without boy once animals
life enough took sometimes four head above kind began almost live page got earth need far hand high
year mother light parts country father let night following picture being study second eyes soon
times story boys since white days ever paper hard near sentence better best across during today
others however sure means knew it's try told young miles sun ways thing whole hear example heard
several change answer room sea against top turned learn point city play toward five using himself
usually contract employer employee salary lawyer court company pay tenant landlord rent deposit
overtime leave notice law legal rights agreement damages claim dispute evidence please question
answer order customer product service refund invoice account email phone address model data train
"""


def _byte_letters() -> dict[int, str]:
    """The printable stand-in of each byte in byte-level BPE (the GPT-2 table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(printable))
    return letters


def _split() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def characters(counts: Counter[str], room: int) -> list[str]:
    """Characters to seed: those of the corpus, then the common ones, as many as there is room."""
    wanted = dict.fromkeys(MARKS)
    wanted.update(dict.fromkeys(c for c, n in counts.most_common() if CJK.match(c) and n > 0))
    wanted.update(dict.fromkeys(common_characters()))
    return list(wanted)[:room]


def _character_merges(seeds: Iterable[str], letters: dict[int, str]) -> list[tuple[str, str]]:
    merges: dict[tuple[str, str], None] = {}
    for character in seeds:
        parts = [letters[byte] for byte in character.encode("utf-8")]
        whole = parts[0]
        for part in parts[1:]:
            merges[whole, part] = None
            whole += part
    return list(merges)


def _english_merges(text: Iterable[str], size: int) -> list[tuple[str, str]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _split()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    merges: list[list[str]] = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges]


def _sample(seed: int, mix: Mix | None, examples: int) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    english: Counter[str] = Counter()
    for example in islice(stream(seed, mix), examples):
        for message in example.messages:
            counts.update(message["content"])
            english.update(CJK.sub("\n", message["content"]).split("\n"))
    common = COMMON_ENGLISH.split()
    lines = [line for line, n in english.items() for _ in range(min(n, 50)) if line.isascii()]
    lines += [f"{word} {word} {word.capitalize()}" for word in common for _ in range(6)]
    lines += [f"{row[2]} {row[2]}" for row in table("words.tsv") for _ in range(15)]
    lines += [f"{role}\n" for role in ("system", "user", "assistant") for _ in range(500)]
    random.Random(seed).shuffle(lines)
    return counts, lines


def build(seed: int, mix: Mix | None = None, examples: int = 60_000) -> Tokenizer:
    """Train the tokenizer on a sample of the corpus.

    Returns a tokenizer of exactly `VOCABULARY` entries whose last three are the special tokens.
    """
    counts, english = _sample(seed, mix, examples)
    letters = _byte_letters()
    merges = _character_merges(characters(counts, 3960), letters)
    room = VOCABULARY - len(SPECIALS) - 256 - len(merges)
    merges += _english_merges(english, room)
    vocabulary = [letters[byte] for byte in range(256)] + [left + right for left, right in merges]
    vocabulary = list(dict.fromkeys(vocabulary))
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = _split()
    tokenizer.decoder = decoders.ByteLevel()
    missing = VOCABULARY - len(SPECIALS) - len(ids)
    fillers = [AddedToken(f"<|reserved_{i}|>", special=True) for i in range(missing)]
    tokenizer.add_special_tokens(fillers)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids of the special tokens by name."""
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    return {name: vocabulary[name] for name in SPECIALS}


def load(folder: Path) -> Tokenizer:
    """The tokenizer saved in `folder`."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return tokenizer
