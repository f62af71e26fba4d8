"""What real exports contain besides clean rows.

Every dirty row is an addition: a cleaned copy of the spreadsheet still holds each phrasing with
its best reply. Phone numbers, addresses and ID numbers are impossible ones.
"""

from collections.abc import Callable
from dataclasses import replace

from tools.build_sample.draw import pick, shuffled
from tools.build_sample.spreadsheet import Row

Thread = list[Row]
Change = Callable[[Row], Row]

CONTACTS = (
    "我的电话13800000000，方便的话打给我。",
    "手机 138-0000-0000，随时联系。",
    "可以发邮件到 wenti@example.com。",
    "身份证号110101199913320000，要核对吗？",
)
ADVERTS = (
    "专业律师，胜诉收费，电话13800000000。",
    "加V信 falv_example 免费评估，或发邮件 lvshi@example.com。",
    "收费公道，微信同号13800000000，欢迎来所面谈。",
)
REMNANTS = ("<br>", "&nbsp;", "&nbsp;&nbsp;", "<p>")


def _best(thread: Thread) -> Row:
    return next(row for row in thread if row.is_best == "1")


def _near_copy(row: Row) -> Row:
    """The same row as a hurried user types it: a space too many, narrow marks."""
    narrow = row.question.translate(str.maketrans("？，！", "?,!"))
    question, reply = pick(
        [
            (row.question + "  ", row.reply),
            (narrow, row.reply),
            ("　" + row.question, row.reply + " "),
            (narrow + " ", row.reply + "\t"),
        ],
        f"near/{row.question}",
    )
    return replace(row, question=question, reply=reply)


def _with_remnant(row: Row) -> Row:
    remnant = pick(REMNANTS, f"remnant/{row.question}")
    return replace(row, question=row.question.replace("，", "，" + remnant, 1) + remnant)


def _with_contact(row: Row) -> Row:
    return replace(row, question=row.question + pick(CONTACTS, f"contact/{row.question}"))


def _advert(row: Row) -> Row:
    return replace(row, reply=pick(ADVERTS, f"advert/{row.question}"), is_best="0")


def _with_line_break(row: Row) -> Row:
    return replace(row, question=row.question.replace("，", "，\n", 1))


def dirty_threads(clean: list[Thread]) -> list[Thread]:
    """Return the additional threads, each made from a different clean one."""
    bests = [_best(thread) for thread in shuffled(clean, "dirt")]
    commas = [row for row in bests if "，" in row.question]
    kinds: list[tuple[list[Row], Change]] = [
        (bests[0:25], lambda row: row),
        (bests[25:45], _near_copy),
        (bests[45:53], lambda row: replace(row, question="")),
        (bests[53:61], lambda row: replace(row, reply="")),
        (bests[61:64], lambda row: replace(row, question=" ", reply="　")),
        (commas[60:72], _with_remnant),
        (bests[70:82], _with_contact),
        (bests[82:97], _advert),
        (commas[100:104], _with_line_break),
    ]
    return [[change(row)] for rows, change in kinds for row in rows]
