"""BPE with byte fallback, as SentencePiece makes it, for llama.cpp, which merges by scores.

``tokenizers`` merges the neighbours whose pair stands first in a list, the leftmost first.
llama.cpp has no list: it merges the neighbours whose union is a token and has the best score, the
leftmost first, whichever two pieces it is made of. So each token gets a score by the place of its
pairs in the list, and it is proven that the two never choose otherwise, or the base is refused.

The proof looks at single tokens and at three neighbours only, each by itself, and that is enough:
as long as both chose alike, they come through the same pieces, and what happens between two ends
of pieces does not depend on what stands outside of them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer

from tunewright.core.errors import ModelError
from tunewright.export.gguf.architecture import CONVERT

SPACE = "▁"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
Pair = tuple[str, str]
_MOST_CASES = 200_000


def scores_of(described: Mapping[str, Any], outside: Collection[str]) -> dict[str, float]:
    """Each merged token's score; the better, the earlier it is merged.

    Args:
        described: the tokenizer's JSON.
        outside: tokens that are looked for in texts before anything is merged.

    Raises:
        ModelError: merges by which no scores give the same tokens.
    """
    model = described["model"]
    lacking = [text for text in BYTES if text not in model["vocab"]]
    if lacking or model.get("ignore_merges") or model.get("dropout"):
        raise _refused(f"it lacks {lacking[0]}" if lacking else "it does not always merge")
    pairs = [_pair(merge) for merge in model["merges"]]
    # What is looked for before has no place to be merged in any more.
    ranks = {pair: n for n, pair in enumerate(pairs) if "".join(pair) not in outside}
    groups = _groups(ranks)
    _refuse_strays(described, ranks, outside)
    for group in groups:
        _refuse_ties(group, ranks)
    return {"".join(pair): -float(n) for n, group in enumerate(groups) for pair in group}


def merges_of(scores: Mapping[str, float]) -> list[Pair]:
    """The list by which ``tokenizers`` merges as llama.cpp does by scores.

    Args:
        scores: of every token that may be merged or be a part, by its text.
    """
    found = [
        (-score, -cut, text)
        for text, score in scores.items()
        for cut in range(1, len(text))
        if text[:cut] in scores and text[cut:] in scores
    ]
    return [(text[:-cut], text[-cut:]) for _, cut, text in sorted(found)]


def _pair(merge: str | Sequence[str]) -> Pair:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _groups(ranks: Mapping[Pair, int]) -> list[list[Pair]]:
    """Pairs that get one score: those of a token, and of tokens whose pairs lie among them."""
    last: dict[str, int] = {}
    for pair, rank in ranks.items():
        last["".join(pair)] = rank
    groups: list[list[Pair]] = []
    reached = -1
    for pair, rank in ranks.items():
        if rank > reached:
            groups.append([])
        groups[-1].append(pair)
        reached = max(reached, last["".join(pair)])
    return groups


def _refuse_strays(
    described: Mapping[str, Any], ranks: Mapping[Pair, int], outside: Collection[str]
) -> None:
    """No token may end as two pieces: llama.cpp would merge them without being told."""
    bare = {**described, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
            "post_processor": None, "truncation": None, "padding": None}  # fmt: skip
    tokenizer = Tokenizer.from_str(json.dumps(bare))
    texts = [text for text in described["model"]["vocab"] if len(text) > 1 and text not in outside]
    for text, encoded in zip(texts, tokenizer.encode_batch_fast(texts), strict=True):
        if encoded.tokens == [text]:
            continue
        *_, final = _states(text, ranks)
        if len(final) == 2:
            raise _refused(f"{text!r} stays {final[0]!r} and {final[1]!r}")


def _refuse_ties(group: Sequence[Pair], ranks: Mapping[Pair, int]) -> None:
    """Among pairs of one score the leftmost is merged, whatever the list says."""
    by_left: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in group:
        by_left[pair[0]].append(pair)
    visited: dict[str, set[tuple[str, ...]]] = {}
    cases = 0
    for left, middle in group:
        for other in by_left[middle]:
            if ranks[other] < ranks[left, middle]:
                cases += 1
                met = (left, *other)
                text = "".join(met)
                if text not in visited:
                    visited[text] = set(_states(text, ranks))
                if cases > _MOST_CASES or met in visited[text]:
                    raise _refused(f"{other[0]!r} and {other[1]!r} come before {left!r}")


def _states(text: str, ranks: Mapping[Pair, int]) -> Iterator[tuple[str, ...]]:
    """The pieces of a text, from its characters to where nothing can be merged any more."""
    parts = list(text)
    yield tuple(parts)
    while found := _ranked(parts, ranks):
        place = min(found)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
        yield tuple(parts)


def _ranked(parts: Iterable[str], ranks: Mapping[Pair, int]) -> list[tuple[int, int]]:
    return [(ranks[pair], n) for n, pair in enumerate(pairwise(parts)) if pair in ranks]


def _refused(why: str) -> ModelError:
    return ModelError(
        f"llama.cpp merges this tokenizer's pieces by scores, which give other tokens: {why}",
        CONVERT,
    )
