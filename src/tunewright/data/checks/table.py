"""The checks in the order in which they run: clean first, then compare, then judge the whole."""

from __future__ import annotations

from tunewright.data.checks.base import Check

CHECKS: tuple[Check, ...] = ()


def check_named(name: str) -> Check:
    """The check of this name.

    Raises:
        KeyError: there is none.
    """
    return next(check for check in CHECKS if check.name == name)
