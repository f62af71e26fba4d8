"""Lists in pages, as OpenAI's clients turn them: by the last id seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeVar

from tunewright.core.records import Record

R = TypeVar("R", bound=Record)
Order = Literal["asc", "desc"]
MOST = 10_000


def page(
    records: Iterable[R], after: str | None, limit: int, order: Order = "desc"
) -> tuple[list[R], bool]:
    """The records after an id in the order of ids, and whether there are more.

    An id that names nothing any more is a place in the order all the same.
    """
    descending = order == "desc"
    ordered = sorted(records, key=lambda record: record.id, reverse=descending)
    if after is not None:
        ordered = [one for one in ordered if (one.id < after if descending else one.id > after)]
    return ordered[:limit], len(ordered) > limit


def cut(items: Iterable[Any], limit: int) -> tuple[list[Any], bool]:
    """The first items, and whether there are more."""
    found = list(islice(items, limit + 1))
    return found[:limit], len(found) > limit


def metadata_filter(query: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The labels that ``metadata[key]=value`` of a query names, and whether it says
    ``metadata=null``: those without any."""
    found = {
        key[len("metadata[") : -1]: value
        for key, value in query.items()
        if key.startswith("metadata[") and key.endswith("]")
    }
    return found, query.get("metadata") == "null"


def list_object(
    items: Sequence[Any], has_more: bool, wire: Callable[[Any], dict[str, Any]], none: Any = ""
) -> dict[str, Any]:
    """OpenAI's list; ``none`` stands for the ids of an empty one."""
    data = [wire(item) for item in items]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else none,
        "last_id": data[-1]["id"] if data else none,
        "has_more": has_more,
    }
