"""Tables on a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Column, Table


def listing(*headings: str) -> Table:
    """An empty table whose cells are broken where they are too long, never cut.

    What it lists has names and ids, and those are there to be copied.
    """
    first, *others = (Column(heading, overflow="fold") for heading in headings)
    first.no_wrap = True
    return Table(first, *others, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
