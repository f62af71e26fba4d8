"""Openings and closings around a question; training and test share none.

`{s}` is the question as a sentence with its final mark.
"""

TRAIN_FRAMES = (
    "你好，{s}",
    "您好！{s}谢谢。",
    "各位律师，{s}急！",
    "请教一下，{s}",
    "想咨询个问题：{s}",
    "{s}请大家帮忙看看。",
    "{s}在线等，挺急的。",
    "律师您好，{s}",
    "{s}求指点。",
    "大家好，{s}有懂的吗？",
    "{s}麻烦专业人士解答一下，谢谢！",
    "打扰了，{s}",
    "求助：{s}",
)

TEST_FRAMES = (
    "有个事想问问：{s}",
    "不好意思，{s}",
    "老师好，{s}望回复。",
    "{s}跪求答复！",
    "法律小白一枚，{s}",
    "{s}哪位好心人给个建议？",
    "帮我分析一下，{s}",
    "事情是这样的，{s}",
    "{s}感激不尽。",
    "第一次发帖，{s}",
)

_FINAL_MARKS = "。？！"


def framed(frame: str, question: str) -> str:
    """Return `question` inside `frame`, closed with a question mark if it had no final mark."""
    sentence = question if question[-1] in _FINAL_MARKS else question + "？"
    return frame.format(s=sentence)
