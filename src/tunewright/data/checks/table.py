"""The checks in the order in which they run: clean first, then compare, then judge the whole."""

from __future__ import annotations

from tunewright.data.checks.affixes import AFFIXES
from tunewright.data.checks.balance import CLASSES, JUDGEMENTS, LENGTH_BIAS
from tunewright.data.checks.base import Check
from tunewright.data.checks.boilerplate import BOILERPLATE
from tunewright.data.checks.case import CASE
from tunewright.data.checks.contradictions import CONTRADICTIONS
from tunewright.data.checks.control import CONTROL
from tunewright.data.checks.diversity import DIVERSITY
from tunewright.data.checks.duplicates import DUPLICATES
from tunewright.data.checks.garbled import GARBLED
from tunewright.data.checks.html import HTML
from tunewright.data.checks.language import LANGUAGE
from tunewright.data.checks.leakage import LEAKAGE
from tunewright.data.checks.near_duplicates import NEAR_DUPLICATES
from tunewright.data.checks.personal import PERSONAL_DATA
from tunewright.data.checks.secrets import SECRETS
from tunewright.data.checks.trivial import TRIVIAL

CHECKS: tuple[Check, ...] = (
    HTML,
    GARBLED,
    TRIVIAL,
    PERSONAL_DATA,
    SECRETS,
    CONTROL,
    AFFIXES,
    CASE,
    DUPLICATES,
    NEAR_DUPLICATES,
    CONTRADICTIONS,
    BOILERPLATE,
    LEAKAGE,
    DIVERSITY,
    CLASSES,
    LENGTH_BIAS,
    JUDGEMENTS,
    LANGUAGE,
)


def check_named(name: str) -> Check:
    """The check of this name.

    Raises:
        KeyError: there is none.
    """
    return next(check for check in CHECKS if check.name == name)
