"""The page that experts vote on: served, or one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tunewright.core.language import LANGUAGES
from tunewright.evaluation.wording.blind import VOTING

ASSETS: Final[dict[str, str]] = {"blind.js": "text/javascript", "blind.css": "text/css"}
"""What the served page loads, with its type."""
SERVED_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the served page: nothing inline runs."""
_TEMPLATE = "blind.html.j2"


def served_page(language: str) -> str:
    """The page without questions; it fetches them once somebody has said who they are."""
    return _render(language, None, None)


def offline_page(session: str, items: Sequence[dict[str, Any]], language: str) -> str:
    """One file with everything in it; only its own script and style may run, by their hashes."""
    script, style = asset("blind.js"), asset("blind.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return _render(language, policy, {"session": session, "questions": list(items)})


@cache
def asset(name: str) -> str:
    """The text of a file that the page loads."""
    folder = files("tunewright.evaluation") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _render(language: str, policy: str | None, session: dict[str, Any] | None) -> str:
    environment = Environment(
        loader=PackageLoader("tunewright.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    texts = {
        name: {key: sentences[column] for key, sentences in VOTING.items()}
        for column, name in enumerate(LANGUAGES)
    }
    page = environment.get_template(_TEMPLATE).render(
        language=language,
        title=VOTING["title"][LANGUAGES.index(language)],
        policy=policy,
        texts=_data(texts),
        session=None if session is None else _data(session),
        script=Markup(asset("blind.js")) if session else None,  # noqa: S704 - our own file
        style=Markup(asset("blind.css")) if session else None,  # noqa: S704
    )
    return page + "\n"


def _data(value: Any) -> Markup:
    """JSON for a data block: nothing in it can end the block or open another."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - what could be markup is escaped above


def _hash(text: str) -> str:
    """As a Content-Security-Policy names what stands inside an element."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
