"""Facts about the world: each a pair of terms, asked in many frames, answered in one sentence."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from .example import Example, ask, capital, dress, table

Frames = tuple[str, list[str]]
"""The answer, and the questions it answers; {k} is the key and {v} the value."""

ZH: dict[str, Frames] = {
    "capital": (
        "{k}的首都是{v}。",
        [
            "{k}的首都是哪里",
            "{k}的首都是什么",
            "{k}首都在哪",
            "{k}的首都在什么地方",
            "{k}的首都叫什么",
            "哪个城市是{k}的首都",
            "告诉我{k}的首都",
            "{k}首都是哪座城市",
        ],
    ),
    "capital_of": (
        "{v}是{k}的首都。",
        ["{v}是哪个国家的首都", "{v}是哪国的首都", "哪个国家的首都是{v}"],
    ),
    "continent": ("{k}在{v}。", ["{k}在哪个洲", "{k}在哪个大洲", "{k}位于哪个洲", "{k}属于哪个洲"]),
    "language": (
        "{k}人说{v}。",
        ["{k}人说什么语言", "{k}的语言是什么", "在{k}说什么话", "{k}讲什么语言"],
    ),
    "currency": (
        "{k}用{v}。",
        ["{k}用什么货币", "{k}的货币是什么", "在{k}花什么钱", "{k}的钱叫什么"],
    ),
    "hue": ("{k}是{v}的。", ["{k}是什么颜色", "{k}是什么颜色的", "{k}的颜色是什么", "{k}什么颜色"]),
    "sound": ("{k}{v}叫。", ["{k}怎么叫", "{k}的叫声是什么", "{k}是怎么叫的", "{k}发出什么声音"]),
    "young": ("{k}的孩子叫{v}。", ["{k}的孩子叫什么", "{k}的宝宝叫什么", "{k}小时候叫什么"]),
    "home": (
        "{k}生活在{v}。",
        ["{k}生活在哪里", "{k}住在哪里", "{k}在哪里生活", "在哪里能看到{k}", "{k}的家在哪"],
    ),
    "diet": (
        "{k}吃{v}。",
        ["{k}吃什么", "{k}喜欢吃什么", "{k}的食物是什么", "{k}爱吃什么", "{k}平时吃什么"],
    ),
    "legs": ("{k}有{v}条腿。", ["{k}有几条腿", "{k}几条腿", "{k}有多少条腿", "{k}长了几条腿"]),
    "duty": (
        "{k}{v}。",
        ["{k}做什么", "{k}是做什么的", "{k}的工作是什么", "{k}干什么", "{k}每天做什么工作"],
    ),
    "workplace": (
        "{k}在{v}工作。",
        ["{k}在哪里工作", "{k}在哪儿上班", "{k}的工作地点在哪", "{k}在什么地方工作"],
    ),
    "use": (
        "{k}用来{v}。",
        ["{k}有什么用", "{k}是做什么用的", "{k}用来做什么", "{k}的用途是什么", "{k}能干什么"],
    ),
    "organ": ("{k}用来{v}。", ["{k}有什么用", "{k}用来做什么", "{k}的作用是什么", "{k}有什么功能"]),
    "count": ("{k}{v}", []),
    "monthdays": ("{k}有{v}天。", ["{k}有多少天", "{k}有几天", "{k}一共多少天", "{k}是多少天"]),
    "date": (
        "{k}是{v}。",
        ["{k}是哪一天", "{k}是几月几日", "{k}在什么时候", "{k}是什么时候", "{k}是几号"],
    ),
    "author": ("{k}是{v}写的。", ["{k}是谁写的", "谁写了{k}", "{k}的作者是谁", "{k}的作者叫什么"]),
    "inventor": (
        "{k}是{v}发明的。",
        ["{k}是谁发明的", "谁发明了{k}", "{k}的发明者是谁", "发明{k}的人是谁"],
    ),
    "source": ("{k}来自{v}。", ["{k}来自什么", "{k}是从哪里来的", "{k}是用什么做的", "{k}从哪来"]),
    "weather": (
        "{k}很{v}。",
        ["{k}的天气怎么样", "{k}是什么样的天气", "{k}冷还是热", "{k}天气如何"],
    ),
    "taste": ("{k}是{v}。", ["{k}是什么味道", "{k}的味道怎么样", "{k}尝起来怎么样", "{k}什么味道"]),
    "largest": ("{k}是{v}。", ["{k}是什么", "{k}是哪个", "哪个是{k}", "告诉我{k}是什么"]),
    "formula": (
        "{k}的化学式是{v}。",
        ["{k}的化学式是什么", "{k}的化学式怎么写", "写出{k}的化学式", "{k}用什么化学式表示"],
    ),
    "landmark": (
        "{k}在{v}。",
        ["{k}在哪个国家", "{k}在哪里", "{k}是哪个国家的", "去哪国能看到{k}"],
    ),
    "city": (
        "{k}在{v}。",
        ["{k}在哪个国家", "{k}是哪个国家的城市", "{k}属于哪个国家", "{k}在哪国"],
    ),
    "class": (
        "{k}是{v}。",
        ["{k}是什么", "{k}属于哪一类", "{k}是哪一类东西", "{k}是哪种东西", "{k}算什么"],
    ),
    "after": (
        "{k}之后是{v}。",
        ["{k}之后是什么", "{k}后面是什么", "{k}的下一个是什么", "{k}过后是什么"],
    ),
    "before": ("{k}之前是{v}。", ["{k}之前是什么", "{k}前面是什么", "{k}的上一个是什么"]),
}
EN: dict[str, Frames] = {
    "capital": (
        "The capital of {k} is {v}.",
        [
            "what is the capital of {k}",
            "which city is the capital of {k}",
            "what is {k}'s capital",
            "tell me the capital of {k}",
            "name the capital of {k}",
            "what is the capital city of {k}",
            "do you know the capital of {k}",
        ],
    ),
    "capital_of": (
        "{v} is the capital of {k}.",
        [
            "{v} is the capital of which country",
            "which country has {v} as its capital",
            "what country's capital is {v}",
        ],
    ),
    "continent": (
        "{k} is in {v}.",
        [
            "which continent is {k} in",
            "on which continent is {k}",
            "what continent is {k} in",
            "where in the world is {k}",
        ],
    ),
    "language": (
        "People in {k} speak {v}.",
        [
            "what language do people speak in {k}",
            "which language is spoken in {k}",
            "what is the language of {k}",
        ],
    ),
    "currency": (
        "{k} uses {v}.",
        [
            "what is the currency of {k}",
            "which currency does {k} use",
            "what money do people use in {k}",
        ],
    ),
    "hue": (
        "{k} is {v}.",
        [
            "what colour is {k}",
            "what is the colour of {k}",
            "tell me the colour of {k}",
            "which colour is {k}",
        ],
    ),
    "sound": (
        "{k} says {v}.",
        ["what does {k} say", "what sound does {k} make", "what is the sound of {k}"],
    ),
    "young": (
        "The young of {k} is {v}.",
        [
            "what is the young of {k} called",
            "what do you call the young of {k}",
            "what is the baby of {k} called",
        ],
    ),
    "home": (
        "{k} lives {v}.",
        ["where does {k} live", "where can you find {k}", "where is the home of {k}"],
    ),
    "diet": (
        "{k} eats {v}.",
        ["what does {k} eat", "what is the food of {k}", "what does {k} like to eat"],
    ),
    "legs": (
        "{k} has {v} legs.",
        [
            "how many legs does {k} have",
            "what is the number of legs of {k}",
            "tell me how many legs {k} has",
        ],
    ),
    "duty": (
        "{k} {v}.",
        [
            "what does {k} do",
            "what is the job of {k}",
            "what is the work of {k}",
            "what does {k} do every day",
        ],
    ),
    "workplace": (
        "{k} works {v}.",
        ["where does {k} work", "where is the workplace of {k}", "in which place does {k} work"],
    ),
    "use": (
        "We use {k} for {v}.",
        [
            "what do we use {k} for",
            "what is the use of {k}",
            "what can I do with {k}",
            "what is {k} used for",
        ],
    ),
    "organ": (
        "We use {k} for {v}.",
        ["what do we use {k} for", "what is the use of {k}", "why do we need {k}"],
    ),
    "count": ("{v}.", []),
    "monthdays": (
        "{k} has {v} days.",
        ["how many days are in {k}", "how many days does {k} have", "how long is {k}"],
    ),
    "date": (
        "{k} is on {v}.",
        ["when is {k}", "what date is {k}", "on which day is {k}", "what day is {k} on"],
    ),
    "author": (
        "{v} wrote {k}.",
        ["who wrote {k}", "who is the author of {k}", "{k} was written by whom"],
    ),
    "inventor": (
        "{v} invented {k}.",
        ["who invented {k}", "who is the inventor of {k}", "{k} was invented by whom"],
    ),
    "source": (
        "{k} comes from {v}.",
        ["where does {k} come from", "what does {k} come from", "what is the source of {k}"],
    ),
    "weather": (
        "It is {v} in {k}.",
        ["what is the weather in {k}", "how is the weather in {k}", "what is {k} like"],
    ),
    "taste": (
        "{k} tastes {v}.",
        ["how does {k} taste", "what is the taste of {k}", "what does {k} taste like"],
    ),
    "largest": ("{v} is {k}.", ["what is {k}", "which is {k}", "name {k}", "can you name {k}"]),
    "formula": (
        "{v} stands for {k}.",
        [
            "what is the formula of {k}",
            "what is the symbol for {k}",
            "how do you write {k} in chemistry",
        ],
    ),
    "landmark": (
        "{k} is in {v}.",
        ["in which country is {k}", "where is {k}", "which country has {k}"],
    ),
    "city": (
        "{k} is in {v}.",
        ["in which country is {k}", "where is {k}", "which country is {k} in"],
    ),
    "class": (
        "{k} is {v}.",
        ["what is {k}", "what kind of thing is {k}", "what type of thing is {k}"],
    ),
    "after": (
        "{v} comes after {k}.",
        ["what comes after {k}", "what follows {k}", "what is after {k}"],
    ),
    "before": ("{v} comes before {k}.", ["what comes before {k}", "what is before {k}"]),
}
COUNTRY = ("capital", "continent", "language", "currency")
RINGS = (
    ("zh", "星期一 星期二 星期三 星期四 星期五 星期六 星期日"),
    ("zh", "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月"),
    ("zh", "春天 夏天 秋天 冬天"),
    ("en", "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    ("en", "January February March April May June July August September October November December"),
    ("en", "spring summer autumn winter"),
)
CLASSES = {
    "animal": ("一种动物", "an animal"),
    "fruit": ("一种水果", "a fruit"),
    "vegetable": ("一种蔬菜", "a vegetable"),
    "colour": ("一种颜色", "a colour"),
    "vehicle": ("一种交通工具", "a vehicle"),
    "furniture": ("一种家具", "a piece of furniture"),
    "clothing": ("一种衣物", "a piece of clothing"),
    "drink": ("一种饮料", "a drink"),
    "food": ("一种食物", "a kind of food"),
    "job": ("一种职业", "a job"),
    "sport": ("一种运动", "a sport"),
    "instrument": ("一种乐器", "a musical instrument"),
    "season": ("一个季节", "a season"),
}
BARE = {
    "furniture": "",
    "colour": "",
    "drink": "",
    "food": "",
    "sport": "",
    "season": "",
    "clothing": "",
}


@dataclass(frozen=True)
class Fact:
    """One pair of terms under one relation, in one language."""

    relation: str
    key: str
    value: str
    chinese: bool

    def sentence(self) -> str:
        """The fact as a sentence, which is also its canonical answer."""
        if self.relation == "count" and self.chinese:
            head = self.key.split("有", 1)[0].split("上场", 1)[0]
            verb = "上场" if "上场" in self.key else "有"
            return f"{head}{verb}{self.value}。"
        frame = (ZH if self.chinese else EN)[self.relation][0]
        text = frame.format(k=self.key, v=self.value)
        return text if self.chinese else capital(text)

    def question(self, rng: random.Random) -> str:
        """The fact asked for in one of its frames, as someone would type it."""
        frames = (ZH if self.chinese else EN)[self.relation][1] or ["{k}"]
        return dress(rng, rng.choice(frames).format(k=self.key, v=self.value), self.chinese)


def _countries() -> Iterator[Fact]:
    for row in table("countries.tsv"):
        for chinese in (True, False):
            name, *values = row[0::2] if chinese else row[1::2]
            for relation, value in zip(COUNTRY, values, strict=True):
                yield Fact(relation, name, value, chinese)
            yield Fact("capital_of", name, values[0], chinese)


def _classes() -> Iterator[Fact]:
    for category, zh, en in table("words.tsv"):
        if category in CLASSES:
            article = BARE.get(category, "an " if en[0] in "aeiou" else "a ")
            yield Fact("class", zh, CLASSES[category][0], chinese=True)
            yield Fact("class", article + en, CLASSES[category][1], chinese=False)


def _rings() -> Iterator[Fact]:
    for language, words in RINGS:
        ring = words.split()
        for this, following in zip(ring, ring[1:] + ring[:1], strict=True):
            yield Fact("after", this, following, language == "zh")
            yield Fact("before", following, this, language == "zh")


def every_fact() -> list[Fact]:
    """All facts of the tables."""
    plain = [
        Fact(relation, zh_key if chinese else en_key, zh if chinese else en, chinese)
        for relation, zh_key, zh, en_key, en in table("facts.tsv")
        for chinese in (True, False)
    ]
    return [*plain, *_countries(), *_classes(), *_rings()]


def examples(rng: random.Random) -> Iterator[Example]:
    """Facts in random order, each asked in a random frame."""
    facts = every_fact()
    while True:
        fact = rng.choice(facts)
        yield ask("facts", fact.question(rng), fact.sentence())
