"""The kinds of rows in words, and how rows of another kind become conversations."""

from __future__ import annotations

from tunewright.core.messages import RowKind

HOLDS: dict[RowKind, str] = {
    "conversation": "conversations",
    "preference": "pairs of a better and a worse answer",
    "rating": "answers judged good or bad",
    "text": "plain text",
}
"""What a dataset holds."""

AS_CONVERSATIONS: dict[RowKind, str] = {
    "conversation": "",
    "preference": (
        "To learn the better answers alone, prepare the files again with them as answers: "
        "tunewright prepare FILES --format columns --map answer=chosen"
    ),
    "rating": (
        "To learn the good answers alone, prepare the files again without the others: "
        "tunewright prepare FILES --format columns --where label=true"
    ),
    "text": (
        "To make questions and answers out of the text: tunewright generate questions FILES; "
        "then prepare what it writes."
    ),
}
"""What to do about rows that something for conversations cannot use; columns as usually named."""
