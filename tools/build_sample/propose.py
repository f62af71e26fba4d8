"""Propose the exchanges of `data/synonyms.yaml` from the lexicon that the base model learns.

`python -m tools.build_sample.propose` prints YAML. Read every sentence; put word pairs that
sound wrong into `data/unnatural.tsv` (word, synonym or *, context or *) and run again.
"""

import sys
from collections import defaultdict
from pathlib import Path

import yaml

from tools.build_sample.draw import draw, shuffled
from tools.build_sample.situations import DATA, Situation, load_situations
from tools.build_sample.synonyms import Exchange, Swap

LEXICON = Path(__file__).parents[1] / "build_nano/data/synonyms.tsv"
PER_SITUATION = 2
MAX_SWAPS = 3

Lexicon = dict[str, list[str]]
Strike = tuple[str, str, str]


def load_lexicon(path: Path = LEXICON) -> Lexicon:
    """Return word → synonyms for words of one group and of two characters or more."""
    groups: dict[str, list[list[str]]] = defaultdict(list)
    for line in path.read_text("utf-8").splitlines():
        words = [word for word in line.split("\t") if len(word) > 1]
        for word in words:
            groups[word].append([other for other in words if other != word])
    return {word: found[0] for word, found in groups.items() if len(found) == 1}


def load_unnatural() -> list[Strike]:
    """Return (word, synonym, context) that a reader has struck out; * stands for any."""
    lines = (DATA / "unnatural.tsv").read_text("utf-8").splitlines()
    return [(word, synonym, context) for word, synonym, context in map(_fields, lines)]


def _fields(line: str) -> list[str]:
    return line.split("\t")


def is_struck(word: str, synonym: str, phrasing: str, strikes: list[Strike]) -> bool:
    """Tell whether a reader struck out this exchange in this phrasing."""
    return any(
        word == struck and other in ("*", synonym) and (context == "*" or context in phrasing)
        for struck, other, context in strikes
    )


def words_in(text: str, lexicon: Lexicon) -> list[str]:
    """Return the lexicon's words in `text`, left to right, the longest at each place."""
    longest = max(map(len, lexicon))
    found, place = [], 0
    while place < len(text):
        starts = (text[place : place + size] for size in range(longest, 1, -1))
        word = next((start for start in starts if start in lexicon), "")
        if word and word not in found and text.index(word) == place:
            found.append(word)
        place += len(word) or 1
    return found


def swaps_for(phrasing: str, lexicon: Lexicon, strikes: list[Strike]) -> tuple[Swap, ...]:
    """Return up to three exchanges for one phrasing, the longest words first."""
    swaps: list[Swap] = []
    for word in sorted(words_in(phrasing, lexicon), key=len, reverse=True):
        options = [
            other
            for other in shuffled(lexicon[word], f"{phrasing}/{word}")
            if other not in phrasing and not is_struck(word, other, phrasing, strikes)
        ]
        if options:
            swaps.append((word, options[0]))
    return tuple(swaps[:MAX_SWAPS])


def propose(situation: Situation, lexicon: Lexicon, strikes: list[Strike]) -> list[Exchange]:
    """Return the exchanges of the phrasings that can change most."""
    every = [
        Exchange(situation.id, phrasing, swaps_for(phrasing, lexicon, strikes))
        for phrasing in situation.phrasings
    ]
    usable = [exchange for exchange in every if exchange.swaps]
    usable.sort(key=lambda one: (-min(len(one.swaps), 2), draw(f"synonyms/{one.phrasing}")))
    return usable[:PER_SITUATION]


def main() -> int:
    """Print the proposals of all situations as YAML."""
    lexicon, strikes = load_lexicon(), load_unnatural()
    found = {
        situation.id: [
            {"phrasing": one.phrasing, "swaps": [list(swap) for swap in one.swaps]}
            for one in propose(situation, lexicon, strikes)
        ]
        for situation in load_situations()
    }
    yaml.safe_dump(found, sys.stdout, allow_unicode=True, sort_keys=False, width=200)
    return 0


if __name__ == "__main__":
    sys.exit(main())
