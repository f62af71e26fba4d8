"""HTML left in texts: tags and entities that came along from a web page.

Only what is surely HTML is touched: known tag names with proper attributes, and entities with
their semicolon. Code between backticks, comparisons such as ``a < b`` and generics such as
``List<int>`` stay as they are, and so does a row that speaks about HTML.

The tags are found by one pattern that never looks past the next ``<``, so that its time grows
with the text; ``html.parser`` needs time that grows with its square (half a minute for 50 kB of
``<a b=``), and it guesses where a comparison is meant.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.entities import html5
from typing import NamedTuple

from tunewright.core.messages import Role
from tunewright.data.checks.base import EXAMPLES, Change, Check, Context, Corpus, Finding, Outcome
from tunewright.data.checks.columns import suspects
from tunewright.data.checks.shown import example
from tunewright.data.checks.turns import all_turns, rewritten, words
from tunewright.data.records import Draft

SUSPECT = r"</?[A-Za-z][A-Za-z0-9]{0,9}[\s/>]|&(?:#\w{2,7}|[A-Za-z]\w{1,30});|<!--"
"""What every text with HTML matches, in the syntax that polars takes."""
# What a tool said is quoted as it is: it is rather JSON than a page.
_ROLES: tuple[Role, ...] = ("system", "user", "assistant")
_ROUNDS = 3  # "&amp;lt;br&amp;gt;" has been escaped twice

_LINE = words("br hr")
_BLOCK = words(
    "address article aside blockquote caption center dd details div dl dt fieldset figcaption "
    "figure footer form h1 h2 h3 h4 h5 h6 header li main nav ol p pre section summary table tbody "
    "tfoot thead tr ul"
)
_CELL = words("td th")
_HIDDEN = words("script style")
_INLINE = words(
    "a abbr acronym audio b basefont bdi bdo big body button canvas cite code col colgroup data "
    "del dfn dialog em embed font head html i iframe img input ins kbd label legend link map mark "
    "menu meta nobr noscript object optgroup option output path picture q rp rt ruby s samp "
    "select small source span strike strong sub sup svg template textarea time title tt u var "
    "video wbr"
)
_KNOWN = _LINE | _BLOCK | _CELL | _HIDDEN | _INLINE
_LONE = words("br hr p div li tr td th img wbr meta link input")
"""Tags that often stand alone; one of any other name needs attributes or its counterpart."""
_PLACEHOLDERS = words(
    "address article cite code data details dialog footer form header input kbd label link main "
    "map mark menu nav object option output q s samp section select source summary template text "
    "time title var"
)
"""Names that people also use as headings of their own (``<title>…</title>``): alone they prove
nothing without attributes."""
_BARE = words(
    "allowfullscreen async autoplay border checked controls default defer disabled hidden loop "
    "multiple muted noshade nowrap open readonly required selected"
)
"""Attributes that stand without a value; any other makes ``<b and b>`` a comparison."""

_TAG = re.compile(
    r"""<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9]*+)(?![\w.:@-])"""
    r"""(?P<attributes>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+)>"""
    r"""|(?P<comment><!--(?:(?!-->|<!--)[\s\S])*+-->)"""
    r"""|(?P<entity>&(?:\#[0-9]{2,7}|\#[xX][0-9A-Fa-f]{2,6}|[A-Za-z][A-Za-z0-9]{1,30});)"""
)
_ATTRIBUTE = re.compile(r"""([^\s"'=/]+)(\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"']+))?""")
_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.DOTALL)
_ABOUT = re.compile(
    r"(?<![a-z])(?:x?html5?|xml|css|jsx|vue|react|javascript|jquery|markup)(?![a-z])"
    r"|转义|前端|网页代码|网页源|爬虫|正则",
    re.IGNORECASE,
)
_SPACES = str.maketrans({"\xa0": " ", "\u2002": " ", "\u2003": " ", "\u2009": " ",
                         "\u200b": "", "\u200c": "", "\u200d": "", "\xad": ""})  # fmt: skip


class _Piece(NamedTuple):
    """A part of a text that is HTML: its range, what it is, and whether it has attributes."""

    start: int
    end: int
    kind: str
    name: str = ""
    attributes: bool = False
    glued: bool = False


def cleaned(text: str) -> tuple[str, Counter[str]]:
    """A text without its HTML, and how many tags and entities went.

    ``<br>`` and blocks become line ends, cells are set apart by tabs, entities become their
    characters; what was escaped more than once is taken apart as often.
    """
    done: Counter[str] = Counter()
    for _ in range(_ROUNDS):
        pieces = _html_in(text)
        if not pieces:
            break
        text = _applied(text, pieces)
        done.update("entity" if p.kind == "entity" else "tag" for p in pieces)
    return (text.strip() if done else text), done


def _html_in(text: str) -> list[_Piece]:
    """The parts of a text that are surely HTML, in order."""
    pieces = list(_pieces(text))
    opened = {piece.name for piece in pieces if piece.kind == "open"}
    paired = opened & {piece.name for piece in pieces if piece.kind == "close"}
    sure = {
        piece.name
        for piece in pieces
        if piece.attributes or (piece.name in _LONE and not piece.glued) or piece.name in paired
    }
    if not any(p.attributes or p.name in sure - _PLACEHOLDERS for p in pieces):
        sure = set()
    found = [
        piece
        for piece in pieces
        if piece.kind in ("entity", "comment")
        or (piece.name in sure and not (piece.glued and piece.name not in paired))
    ]
    return _without_hidden(found)


def _pieces(text: str) -> Iterator[_Piece]:
    """Whatever looks like HTML; nothing inside code counts."""
    # Code is blanked out at equal length, so that places stay true and nothing in it is found.
    for found in _TAG.finditer(_CODE.sub(lambda code: "`" * len(code.group()), text)):
        start, end = found.span()
        name = (found["name"] or "").lower()
        if found["entity"]:
            if unescape(found["entity"]) not in ("\ufffd", "") and _is_entity(found["entity"]):
                yield _Piece(start, end, "entity")
        elif found["comment"]:
            yield _Piece(start, end, "comment")
        elif name in _KNOWN:
            attributes = _ATTRIBUTE.findall(found["attributes"])
            if all(value or key.lower() in _BARE for key, value in attributes):
                kind = "close" if found["close"] else "open"
                yield _Piece(start, end, kind, name, bool(attributes), _glued(text, start))


def _is_entity(raw: str) -> bool:
    return raw[1] == "#" or raw[1:] in html5


def _glued(text: str, start: int) -> bool:
    """Whether a tag rather is a type parameter: ``List<P>``, ``Map<Object>``."""
    before = text[start - 1 : start]
    follows_a_name = before.isascii() and (before.isalnum() or before in "_.:")
    return bool(before) and follows_a_name and text[start + 1].isupper()


def _without_hidden(pieces: list[_Piece]) -> list[_Piece]:
    """Scripts and styles as one piece each, contents included."""
    result: list[_Piece] = []
    inside: _Piece | None = None
    for piece in pieces:
        if inside is None and piece.kind == "open" and piece.name in _HIDDEN:
            inside = piece
        elif inside is None:
            result.append(piece)
        elif piece.kind == "close" and piece.name == inside.name:
            result.append(_Piece(inside.start, piece.end, "comment"))
            inside = None
    return result if inside is None else [*result, inside]


class _Text:
    """A text as it grows, without a third line end in a row."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.ends = 2  # line ends at the end so far; a text needs none at its start

    def add(self, text: str) -> None:
        """Text as it was; beside a line end that stands for a tag, its own is one too many."""
        if self.ends and self.parts:
            text = text.lstrip(" \t").removeprefix("\n").lstrip(" \t")
        if text:
            self.parts.append(text)
            self.ends = len(text) - len(text.rstrip("\n"))

    def end_line(self, again: bool) -> None:
        """A line end; ``again`` also after another one."""
        if self.ends < (2 if again else 1):
            self.parts.append("\n")
            self.ends += 1


def _applied(text: str, pieces: list[_Piece]) -> str:
    result = _Text()
    place = 0
    for piece in pieces:
        result.add(text[place : piece.start])
        place = piece.end
        if piece.kind == "entity":
            result.add(unescape(text[piece.start : piece.end]).translate(_SPACES))
        elif piece.name in _LINE and _in_table(text, piece.start):
            result.add(" ")  # a line end would break the Markdown table
        elif piece.name in _LINE or piece.name in _BLOCK:
            result.end_line(again=piece.name in _LINE)
        elif piece.name in _CELL and piece.kind == "close":
            result.add("\t")
    result.add(text[place:])
    return "".join(result.parts)


def _in_table(text: str, place: int) -> bool:
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return line.lstrip().startswith("|")


def _about_html(draft: Draft) -> bool:
    """Whether a row speaks about HTML: it names it outside of tags, or shows it as code."""
    texts = [turn.text for turn in all_turns(draft) if turn.role in _ROLES]
    if _ABOUT.search("\n".join(cleaned(text)[0] for text in texts)):
        return True
    shown = [code for text in texts for code in _CODE.findall(text)]
    return any(len(_KNOWN.intersection(re.findall(r"</?([a-z0-9]+)", c))) > 1 for c in shown)


def _first(text: str) -> int | None:
    found = _html_in(text)
    return found[0].start if found else None


def _run(corpus: Corpus, action: str, context: Context) -> Outcome:
    changes: list[Change] = []
    about = 0
    for index in suspects(corpus.texts, SUSPECT):
        change = rewritten(index, corpus.drafts[index], dict.fromkeys(_ROLES, cleaned))
        if change is not None and _about_html(corpus.drafts[index]):
            about += 1
        elif change is not None:
            changes.append(change)
    if not changes and not about:
        return Outcome()
    finding = Finding(
        check=HTML.name,
        rows=len(changes) + about,
        level="care" if changes and action == "keep" else "info",
        action=action,
        facts={"rows": len(changes) + about, "leftover": len(changes), "about": about},
        examples=tuple(example(corpus.drafts[c.index], _first) for c in changes[:EXAMPLES]),
    )
    return Outcome(finding, changes=changes if action == "clean" else ())


HTML = Check(
    name="html",
    actions=("clean", "keep"),
    run=_run,
    title={"en": "HTML in texts", "zh": "文本中的 HTML"},
    says={
        "en": "{rows:,} rows hold HTML tags or entities. In {leftover:,} they came along from a "
        "web page, and a model would learn to write them; {about:,} speak about HTML or show it "
        "as code, and stay as they are.",
        "zh": "{rows:,} 行含有 HTML 标签或实体：{leftover:,} 行是从网页夹带来的，模型会照样学着"
        "输出；{about:,} 行本来就在讨论 HTML 或以代码展示它，一律不动。",
    },
    does={
        "clean": {
            "en": "take tags out, turn <br> and paragraphs into line ends and entities into "
            "their characters",
            "zh": "去掉标签，把 <br> 和段落换成换行，把实体还原成字符",
        },
        "keep": {"en": "keep them as they are", "zh": "原样保留"},
    },
)
