"""Small sums, the times table, comparing and counting; in digits, Chinese words and English."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .example import Example, ask

ZH = "零一二三四五六七八九"
SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SIGNS = {
    "+": (["加", "加上"], ["plus"]),
    "-": (["减", "减去"], ["minus"]),
    "×": (["乘", "乘以"], ["times"]),
}


def chinese(number: int) -> str:
    """0 to 100 in Chinese characters."""
    if number == 100:
        return "一百"
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else ("十" if tens == 1 else ZH[tens] + "十")
    return head + (ZH[ones] if ones or not head else "")


def english(number: int) -> str:
    """0 to 100 in English words."""
    if number == 100:
        return "one hundred"
    if number < 20:
        return SMALL[number]
    tens, ones = divmod(number, 10)
    return TENS[tens] + (f"-{SMALL[ones]}" if ones else "")


def operands(rng: random.Random) -> tuple[int, str, int, int]:
    """A sum: left, sign, right, result; most within 20, the others within 100."""
    sign = rng.choice("++--×")
    if sign == "×":
        left, right = rng.randint(1, 9), rng.randint(1, 9)
        return left, sign, right, left * right
    total = rng.randint(2, 20) if rng.random() < 0.88 else rng.randint(20, 100)
    part = rng.randint(0, total)
    if sign == "+":
        return part, sign, total - part, total
    return total, sign, part, total - part


def calculation(rng: random.Random) -> Example:
    """One sum in one of three notations."""
    left, sign, right, result = operands(rng)
    style = rng.random()
    if style < 0.55:
        word = rng.choice(SIGNS[sign][0])
        core = rng.choice(
            [f"{left}{sign}{right}", f"{left} {sign} {right}", f"{left}{word}{right}"]
        )
        frames = [
            "{}等于几？",
            "{}等于多少？",
            "{}=?",
            "{}是多少",
            "计算{}",
            "算一下{}",
            "{}得多少？",
            "请计算：{}",
            "{}=",
            "帮我算{}",
        ]
        return ask("arithmetic", rng.choice(frames).format(core), str(result))
    if style < 0.7 and max(left, right) <= 20:
        core = chinese(left) + rng.choice(SIGNS[sign][0]) + chinese(right)
        frame = rng.choice(["{}等于几？", "{}等于多少？", "{}是多少？", "算一算{}"])
        return ask("arithmetic", frame.format(core), chinese(result))
    word = SIGNS[sign][1][0]
    if rng.random() < 0.4 and max(left, right) <= 20:
        core = f"{english(left)} {word} {english(right)}"
        frame = rng.choice(["What is {}?", "How much is {}?", "Calculate {}.", "{} is?"])
        return ask("arithmetic", frame.format(core), english(result))
    core = rng.choice([f"{left} {word} {right}", f"{left} {sign} {right}", f"{left}{sign}{right}"])
    frame = rng.choice(["What is {}?", "How much is {}?", "Calculate {}.", "Compute {}", "{} is?"])
    return ask("arithmetic", frame.format(core), str(result))


def comparison(rng: random.Random) -> Example:
    """Which of two numbers is larger or smaller."""
    left, right = rng.sample(range(100), 2)
    big = rng.random() < 0.5
    answer = str(max(left, right) if big else min(left, right))
    if rng.random() < 0.55:
        word = "大" if big else "小"
        frames = [
            f"{left}和{right}哪个{word}？",
            f"{left}和{right}，哪个更{word}？",
            f"{left}跟{right}比，哪个{word}？",
            f"哪个数{word}：{left}还是{right}？",
        ]
    else:
        word = "larger" if big else "smaller"
        frames = [
            f"Which is {word}, {left} or {right}?",
            f"{left} or {right}: which is {word}?",
            f"Which number is {word}: {left} or {right}?",
        ]
    return ask("comparison", rng.choice(frames), answer)


def sequence(rng: random.Random) -> Example:
    """The neighbour of a number, or how a short sequence goes on."""
    number = rng.randint(1, 98)
    style = rng.randrange(6)
    if style == 0:
        frame = rng.choice(["{}后面的数是几？", "{}的下一个数是多少？", "{}加一是多少？"])
        return ask("sequence", frame.format(number), str(number + 1))
    if style == 1:
        frame = rng.choice(["{}前面的数是几？", "{}的前一个数是多少？"])
        return ask("sequence", frame.format(number), str(number - 1))
    if style == 2:
        frame = rng.choice(["What number comes after {}?", "Which number follows {}?"])
        return ask("sequence", frame.format(number), str(number + 1))
    if style == 3:
        frame = rng.choice(["What number comes before {}?", "Which number is just before {}?"])
        return ask("sequence", frame.format(number), str(number - 1))
    if style == 4:
        frame = rng.choice(["{}是奇数还是偶数？", "{}是单数还是双数？", "Is {} odd or even?"])
        words = {"奇": "奇数 偶数", "单": "单数 双数"}.get(frame[3:4], "Odd Even").split()
        return ask("sequence", frame.format(number), words[(number + 1) % 2])
    gap = rng.choice([1, 2, 5, 10])
    start = rng.randint(1, 50)
    shown = [start + gap * i for i in range(4)]
    row = rng.choice(["，", ", "]).join(map(str, shown[:3]))
    frame = rng.choice(["接下来是几：{}", "按规律填数：{}", "What comes next: {}?", "Continue: {}"])
    return ask("sequence", frame.format(row), str(shown[3]))


def story(rng: random.Random) -> Example:
    """A one-step word problem within 20."""
    have, change = rng.randint(2, 10), rng.randint(1, 9)
    more = rng.random() < 0.5 or change > have
    result = have + change if more else have - change
    if rng.random() < 0.6:
        name, thing = (
            rng.choice(["小明", "小红", "小华", "我", "妈妈"]),
            rng.choice(["苹果", "梨", "糖", "球"]),
        )
        verb = (
            rng.choice(["又买了", "又拿来"])
            if more
            else rng.choice(["吃了" if thing != "球" else "丢了", "送人"])
        )
        text = f"{name}有{have}个{thing}，{verb}{change}个，现在有几个？"
        return ask("word problem", text, f"{result}个")
    name, thing = (
        rng.choice(["Tom", "Anna", "Ben", "Mary"]),
        rng.choice(["apples", "books", "cups"]),
    )
    verb = rng.choice(["buys", "gets"]) + f" {change} more" if more else f"gives away {change}"
    text = f"{name} has {have} {thing} and {verb}. How many {thing} now?"
    return ask("word problem", text, str(result))


def examples(rng: random.Random) -> Iterator[Example]:
    """Sums mostly; comparisons, sequences and word problems beside them."""
    makers = [calculation] * 11 + [comparison] * 3 + [sequence] * 4 + [story] * 2
    while True:
        yield rng.choice(makers)(rng)
