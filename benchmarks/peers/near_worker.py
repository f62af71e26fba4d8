"""Near-duplicate candidates with one library; runs in a peer's Python.

Arguments: ``datasketch``, ``rensa`` (text by text) or ``rensa-matrix`` (all at once), file of
texts, planted texts. Each is used as its own documentation shows.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PERMUTATIONS, THRESHOLD, BANDS = 128, 0.8, 16


def grams(text: str) -> list[str]:
    """The text's runs of three characters."""
    return [text[place : place + 3] for place in range(len(text) - 2)]


def by_datasketch(texts: Sequence[str]) -> list[bool]:
    """MinHash of each text, LSH index, one query for each text."""
    from datasketch import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        MinHash,
        MinHashLSH,
    )

    made = []
    for text in texts:
        one = MinHash(num_perm=PERMUTATIONS)
        one.update_batch([gram.encode() for gram in grams(text)])
        made.append(one)
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    with index.insertion_session() as session:
        for place, one in enumerate(made):
            session.insert(place, one)
    return [len(index.query(one)) > 1 for one in made]


def by_rensa(texts: Sequence[str]) -> list[bool]:
    """R-MinHash of each text, LSH index, one query for each text."""
    from rensa import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        RMinHash,
        RMinHashLSH,
    )

    made = []
    for text in texts:
        one = RMinHash(num_perm=PERMUTATIONS, seed=42)
        one.update(grams(text))
        made.append(one)
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=BANDS)
    for place, one in enumerate(made):
        index.insert(place, one)
    return [len(index.query(one)) > 1 for one in made]


def by_rensa_matrix(texts: Sequence[str]) -> list[bool]:
    """All digests in one call, and all flags in another."""
    from rensa import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        RMinHash,
        RMinHashLSH,
    )

    sets = [grams(text) for text in texts]
    matrix = RMinHash.digest_matrix_from_token_sets(sets, num_perm=PERMUTATIONS, seed=42)
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=BANDS)
    return list(index.insert_matrix_and_query_duplicate_flags(matrix))


def main() -> None:
    """Run once and report seconds, peak memory and the share of planted texts found."""
    way, source, planted = sys.argv[1], sys.argv[2], int(sys.argv[3])
    texts = Path(source).read_text(encoding="utf-8").splitlines()
    run = {"datasketch": by_datasketch, "rensa": by_rensa, "rensa-matrix": by_rensa_matrix}[way]
    started = time.perf_counter()
    flags = run(texts)
    seconds = time.perf_counter() - started
    found = sum(map(bool, flags[-planted:])) / planted
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("METER " + json.dumps({"seconds": seconds, "peak": peak, "found": found}))


if __name__ == "__main__":
    main()
