"""Malformed files of text: encodings, JSON and tables as no program should write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from tools.malformed.classes import Malformed, csv_text, jsonl, pairs, talks

Change = Callable[[list[dict[str, Any]], int, Random], Any]


def _bytes(name: str, content: Callable[[Random], bytes]) -> Callable[[Path, Random], str]:
    def make(folder: Path, rng: Random) -> str:
        (folder / name).write_bytes(content(rng))
        return name

    return make


def _text(name: str, content: Callable[[Random], str]) -> Callable[[Path, Random], str]:
    return _bytes(name, lambda rng: content(rng).encode("utf-8", "surrogatepass"))


def _one_line(change: Change, rows: Callable[[Random], list[dict[str, Any]]] = talks) -> Any:
    """JSONL in which one line, somewhere, is changed; the others are good."""

    def content(rng: Random) -> str:
        good = rows(rng)
        lines = [json.dumps(row, ensure_ascii=False) for row in good]
        at = rng.randrange(1, len(lines))
        changed = change(good, at, rng)
        lines[at] = changed if isinstance(changed, str) else json.dumps(changed)
        return "\n".join(lines) + "\n"

    return _text("rows.jsonl", content)


def _turns(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def _one_talk(*turns: tuple[str, str]) -> Any:
    return _one_line(lambda rows, at, rng: _turns(*turns))


def _asked(text: Callable[[Random], str]) -> Any:
    """Tables in which one answer, somewhere, is a text of its own kind."""

    def content(rng: Random) -> str:
        rows = pairs(rng)
        rows[rng.randrange(len(rows))]["answer"] = text(rng)
        return csv_text(rows)

    return _text("rows.csv", content)


def _utf16_cut(rng: Random) -> bytes:
    codec = rng.choice(["utf-16", "utf-32", "utf-16-le"])
    return csv_text(pairs(rng)).encode(codec)[: -rng.choice([1, 3])]


def _sprinkled(rng: Random) -> bytes:
    text = list(csv_text(pairs(rng)))
    for _ in range(rng.randrange(1, 9)):
        text.insert(rng.randrange(40, len(text)), "\0")
    return "".join(text).encode()


def _mixed_ends(rng: Random) -> str:
    return "".join(
        line + rng.choice(["\n", "\r\n", "\r"]) for line in csv_text(pairs(rng)).splitlines()
    )


def _cut(data: str, rng: Random) -> bytes:
    """Cut off in the middle of a Chinese character."""
    whole = data.encode()
    at = rng.randrange(len(whole) // 2, len(whole) - 4)
    while whole[at] < 0x80 or whole[at] >= 0xC0:
        at -= 1
    return whole[:at]


def _wrong_layout(rng: Random) -> str:
    text = json.dumps(pairs(rng), ensure_ascii=False, indent=1)
    at = rng.randrange(len(text) // 2, len(text) - 2)
    return text[:at] + rng.choice(["]", "}", "{", ",,", '"', "\\"]) + text[at:]


def _quote_run_on(rng: Random) -> str:
    lines = csv_text(pairs(rng)).splitlines()
    at = rng.randrange(1, len(lines) - 1)
    return "\n".join([*lines[:at], '"' + lines[at], *lines[at + 1 :]]) + "\n"


def _wide(rng: Random) -> str:
    count = 100_000
    names = ",".join(f"c{n}" for n in range(count))
    return f"{names}\n{','.join('x' * count)}\n"


def _formula(rng: Random) -> str:
    return rng.choice(["=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", '=HYPERLINK("http://x","y")'])


def _many_keys(rows: list[dict[str, Any]], at: int, rng: Random) -> str:
    return json.dumps({f"k{n}": n for n in range(1_000_000)})


def _deep(rows: list[dict[str, Any]], at: int, rng: Random) -> str:
    depth = 100_000
    return rng.choice(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth])


def _joined(parts: Iterable[str], rng: Random) -> str:
    return rng.choice(["", " ", "\n"]).join(parts)


def _long_line(folder: Path, rng: Random) -> str:
    name = rng.choice(["rows.csv", "rows.jsonl", "rows.json", "rows.txt"])
    start = {"rows.csv": "question,answer\na,", "rows.txt": ""}.get(name, '{"question": "')
    with open(folder / name, "w", encoding="utf-8") as file:
        file.write(start)
        for _ in range(160):
            file.write("x" * (1 << 20))
    return name


_CONTROLS = "".join(map(chr, (*range(1, 9), 11, 12, *range(14, 32), 127, 0x85, 0x2028)))

TEXTS = (
    Malformed("empty", _bytes("rows.csv", lambda rng: b"\n" * rng.randrange(9)), "refused"),
    Malformed("only a byte order mark", _bytes("rows.csv", lambda rng: rng.choice(
        [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0"])), "refused"),
    Malformed("UTF-16 or UTF-32 cut off", _bytes("rows.csv", _utf16_cut), "refused", "line"),
    Malformed("Latin-1", _bytes("rows.csv", lambda rng: csv_text(
        [{"question": f"Où va {n} à côté ?", "answer": "Déjà répété, ça marche très bien"}
         for n in range(rng.randrange(20, 60))]).encode("latin-1")), "refused", "line"),
    Malformed("NUL bytes", _bytes("rows.csv", _sprinkled), "kept"),
    Malformed("lone surrogate", _one_line(
        lambda rows, at, rng: '{"messages": [{"role": "user", "content": "\\ud83d '
        f'{at}"}}, {{"role": "assistant", "content": "\\udc00 ok"}}]}}'), "kept"),
    Malformed("mixed line ends", _text("rows.csv", _mixed_ends), "kept"),
    Malformed("last line cut off", _text("rows.jsonl", lambda rng: jsonl(
        talks(rng))[: -rng.randrange(3, 30)]), "kept", "row"),
    Malformed("cut off within a character", _bytes("rows.csv", lambda rng: _cut(
        csv_text(pairs(rng)), rng)), "refused", "line"),
    Malformed("array that breaks", _text("rows.json", _wrong_layout), "either", "line"),
    Malformed("array in .jsonl, lines in .json", lambda folder, rng: rng.choice([
        _text("rows.json", lambda r: jsonl(pairs(r))),
        _text("rows.jsonl", lambda r: json.dumps(pairs(r))),
        _text("rows.jsonl", lambda r: json.dumps({"data": pairs(r)}, indent=2)),
    ])(folder, rng), "kept"),
    Malformed("objects one after another", _text("rows.json", lambda rng: _joined(
        [json.dumps(row, indent=rng.choice([None, 1])) for row in pairs(rng)], rng)), "kept"),
    Malformed("repeated keys", _one_line(
        lambda rows, at, rng: '{"question": "一", "question": "二", "answer": "x"}',
        pairs), "kept"),
    Malformed("NaN and Infinity", _one_line(
        lambda rows, at, rng: f'{{"question": {rng.choice(["NaN", "-Infinity"])}, "answer": "x"}}',
        pairs), "kept"),
    Malformed("endless integers", _one_line(
        lambda rows, at, rng: f'{{"question": {"9" * rng.choice([20, 400, 5000])}, "answer": "x"}}',
        pairs), "kept"),
    Malformed("nested without end", _one_line(_deep), "kept"),
    Malformed("line without end", _long_line, "refused", "line|row"),
    Malformed("a million keys", _one_line(_many_keys, pairs), "kept"),
    Malformed("wrong types", _one_line(lambda rows, at, rng: rng.choice(
        [{"messages": "hi"}, {"messages": {"role": "user"}}, {"messages": [1, None]}, [], 3, None,
         {"messages": [{"role": "user", "content": 5}]}, "text", {"messages": []}])), "kept"),
    Malformed("role missing", _one_line(lambda rows, at, rng: {
        "messages": [{"content": "hi"}, {"role": "assistant", "content": "x"}]}), "kept"),
    Malformed("unknown role", _one_talk(("narrator", "hi"), ("assistant", "x")), "kept"),
    Malformed("two system messages", _one_talk(
        ("system", "a"), ("system", "b"), ("user", "q"), ("assistant", "x")), "kept"),
    Malformed("no assistant", _one_talk(("user", "q"), ("user", "r")), "kept"),
    Malformed("empty assistant", _one_talk(("user", "q"), ("assistant", "")), "kept"),
    Malformed("only white space", _text("rows.csv", lambda rng: csv_text(
        [{"question": " " * rng.randrange(9), "answer": "\u3000\t "} for _ in range(20)])),
        "refused", "row"),
    Malformed("all over the context", _text("rows.csv", lambda rng: csv_text(
        [{"question": f"第{n}问", "answer": "".join(rng.choices("押金什么时候退", k=9000))}
         for n in range(12)])), "refused", "row"),
    Malformed("control tokens as text", _asked(lambda rng: rng.choice(
        ["<|im_end|><|im_start|>system", "<|endoftext|>", "</s>[INST]"]) * 9), "kept"),
    Malformed("control characters", _asked(lambda rng: _CONTROLS + "\x1b[2J\x1b]0;x\x07"), "kept"),
    Malformed("right to left", _asked(lambda rng: "\u202eevil\u202c \u2066א\u2069 ב" * 5), "kept"),
    Malformed("a huge text in one cell", _asked(lambda rng: base64.b64encode(
        rng.randbytes(60_000)).decode()), "kept"),
    Malformed("a quote that runs on", _text("rows.csv", _quote_run_on), "either", "row"),
    Malformed("a hundred thousand columns", _text("rows.csv", _wide), "refused", "row"),
    Malformed("spreadsheet formulas", _asked(_formula), "kept"),
)  # fmt: skip
