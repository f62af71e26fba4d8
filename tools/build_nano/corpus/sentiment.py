"""Is a short review good or bad?"""

from __future__ import annotations

import random
from collections.abc import Iterator

from .example import Example, ask

THINGS_ZH = [
    "这家饭店",
    "这部电影",
    "这本书",
    "这个手机",
    "这次服务",
    "这家酒店",
    "这双鞋",
    "这门课",
    "客服",
    "快递",
    "这台电脑",
    "这件衣服",
    "这个律师",
]
GOOD_ZH = [
    "很好",
    "非常棒",
    "让人满意",
    "太好了",
    "值得推荐",
    "质量不错",
    "我很喜欢",
    "超出预期",
    "很贴心",
    "物超所值",
    "特别好用",
    "很专业",
]
BAD_ZH = [
    "很差",
    "太糟糕了",
    "让人失望",
    "太烂了",
    "不值得",
    "质量很差",
    "我不喜欢",
    "浪费钱",
    "很敷衍",
    "再也不来了",
    "特别难用",
    "很不专业",
]
FRAMES_ZH = [
    "判断情感：{}",
    "这句话是正面还是负面：{}",
    "这条评价是好评还是差评？{}",
    "情感分类：{}",
    "这句评论的情感是什么：{}",
]
THINGS_EN = [
    "the food",
    "this film",
    "the book",
    "my new phone",
    "the service",
    "the hotel",
    "the course",
    "the staff",
    "the delivery",
    "this laptop",
]
GOOD_EN = [
    "is great",
    "was wonderful",
    "is very good",
    "is excellent",
    "made me happy",
    "is worth it",
    "was better than expected",
    "works perfectly",
    "was lovely",
]
BAD_EN = [
    "is terrible",
    "was awful",
    "is very bad",
    "is a waste of money",
    "made me angry",
    "is not worth it",
    "was worse than expected",
    "does not work",
    "was horrible",
]
FRAMES_EN = [
    "Is this positive or negative? {}",
    "Sentiment: {}",
    "Classify the sentiment: {}",
    "Positive or negative: {}",
]


def examples(rng: random.Random) -> Iterator[Example]:
    """Reviews made of a thing and a judgement."""
    while True:
        good = rng.random() < 0.5
        if rng.random() < 0.55:
            text = rng.choice(THINGS_ZH) + rng.choice(GOOD_ZH if good else BAD_ZH)
            yield ask("sentiment", rng.choice(FRAMES_ZH).format(text), "正面" if good else "负面")
        else:
            text = f"{rng.choice(THINGS_EN)} {rng.choice(GOOD_EN if good else BAD_EN)}".capitalize()
            answer = "Positive" if good else "Negative"
            yield ask("sentiment", rng.choice(FRAMES_EN).format(text), answer)
