"""Personal data: what is found, what only looks like it, and that none of it is ever quoted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.data.checks.compared import found, qa, rows, run, said

from tunewright.core.messages import ToolCall
from tunewright.data.checks.base import Outcome
from tunewright.data.checks.masking import find, joined_hints, mask
from tunewright.data.checks.personal import PERSONAL_DATA
from tunewright.data.checks.personal_kinds import PERSONAL
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer


def in_chinese(outcome: Outcome) -> str:
    return PERSONAL_DATA.says["zh"].format(**found(outcome).facts)


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def hidden(text: str) -> str:
    """The masked text, once the prefilter is known not to pass it over."""
    masked, done = mask(text, PERSONAL)
    if done:
        assert pl.Series([text]).str.contains(joined_hints(PERSONAL))[0], text
    return masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("我的电话13800138000。", "我的电话〔手机号〕。"),
        ("联系：138-0013-8000，谢谢", "联系：〔手机号〕，谢谢"),
        ("手机 138 0013 8000", "手机 〔手机号〕"),
        ("+86 13800138000找我", "〔手机号〕找我"),
        ("（+86）13800138000找我", "〔手机号〕找我"),
        ("打１３８００１３８０００", "打〔手机号〕"),
        ("13800138000/13900139000都行", "〔手机号〕/〔手机号〕都行"),
        ("tel13800138000", "tel[mobile number]"),
        ("Phone number: 13800138000.", "Phone number: [mobile number]."),
        ("身份证11010519491231002X，男", "身份证〔身份证号〕，男"),
        ("身份证号是110105194912310021", "身份证号是〔身份证号〕"),  # a slip in the last digit
        ("本人440307199902145123", "本人〔身份证号〕"),
        ("440307 19990214 5123就是我", "〔身份证号〕就是我"),
        ("身份证号码：110105491231002", "身份证号码：〔身份证号〕"),
        ("甘肃的620102198507310017", "甘肃的〔身份证号〕"),
        ("转到6222 0210 0011 2230", "转到〔银行卡号〕"),
        ("卡号6217001234567890122", "卡号〔银行卡号〕"),
        ("信用代码91440300MA5EXWHW6F", "信用代码〔统一社会信用代码〕"),
        ("写信到 zhang.san+1@mail-host.com.cn。", "写信到 〔邮箱〕。"),
        ("Write to jo_e@corp.io.", "Write to [e-mail]."),
        ("加微信abc_12345聊", "加微信〔微信号〕聊"),
        ("微信号：zhangsan", "微信号：〔微信号〕"),
        ("vx: lisi_2020", "vx: [WeChat id]"),
        ("QQ：12345678", "QQ：〔QQ号〕"),
        ("加qq群87654321", "加qq群〔QQ号〕"),
        ("车牌京A12345逃逸", "车牌〔车牌号〕逃逸"),
        ("粤B·D12345是电车", "〔车牌号〕是电车"),
        ("护照E12345678丢了", "护照〔护照号〕丢了"),
        ("Passport No. AB1234567", "Passport No. [passport]"),
        ("电话0571-88886666", "电话〔电话号码〕"),
        ("（010）62345678", "〔电话号码〕"),
        ("call me at (415) 555-2671", "call me at [telephone number]"),
    ],
)
def test_it_is_found_in_every_usual_spelling(text: str, masked: str) -> None:
    assert hidden(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "订单号13800138000",
        "快递单号：13912345678，还没到",
        "order no. 13800138000",
        "案号：（2020）京01民终1234号",
        "《民法典》第一千零四十二条，第13800138000号公告已有编号13800138000",
        "合同编号13800138000",
        "赔偿13800138000元",
        "138001380001",
        "0.13800138000",
        "1380013800",
        "12800138000",
        "a13800138000f",
        "138****8000",
        "2023-01-15 12:30:45",
        "20230115123045",
        "1672531200000",
        "https://shop.com/item/13800138000",
        "110105194912310021",  # no card by its check, and nobody says that it is one
        "发票代码6222021000112230",
        "流水号：6217001234567890122",
        "6222021000112231",
        "user@example.com",
        "git@github.com:org/repo.git",
        "noreply@corp.com",
        "@app.route('/x')",
        "https://user:word@host.com/x",
        "a@b",
        "在微信上聊天",
        "微信Android版",
        "微信支付100元",
        "wx.request(options)",
        "appid wx1234567890abcdef",
        "QQ音乐2020",
        "QQ有10000人在线",
        "新GB7718标准",
        "京ABCDEF",
        "川A股市场",
        "护照怎么办理",
        "2020-12345678",
        "GB/T 2260-2007",
        "ISBN 9787300123456",
        "π≈3.14159265358979",
        "192.168.100.100",
        "金额1,234,567,890.00",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert hidden(text) == text


def test_json_stays_json() -> None:
    text = json.dumps({"phone": 13800138000, "mail": "jo_e@corp.io", "n": [1, 13900139000]})
    masked = json.loads(hidden(text))
    assert masked == {"phone": "[mobile number]", "mail": "[e-mail]", "n": [1, "[mobile number]"]}


def test_every_turn_is_masked_and_nothing_is_quoted(renderer: Renderer) -> None:
    call = ToolCall(name="dial", arguments='{"number": "13800138000"}')
    draft = Draft(
        (
            Turn("system", "客户手机13800138000"),
            Turn("user", "打13800138000"),
            Turn("assistant", "", calls=(call,)),
            Turn("tool", '{"mail": "jo_e@corp.io"}', call_id="1"),
            Turn("assistant", "已拨打13800138000"),
        ),
        "f",
        7,
        "g",
    )
    outcome = run(PERSONAL_DATA, [qa("别的", "没有数字"), draft], renderer)
    (change,) = outcome.changes
    texts = [turn.text for turn in change.turns]
    assert texts == [
        "客户手机〔手机号〕",
        "打〔手机号〕",
        "",
        '{"mail": "〔邮箱〕"}',
        "已拨打〔手机号〕",
    ]
    assert change.turns[2].calls[0].arguments == '{"number": "〔手机号〕"}'
    assert (change.index, change.detail) == (1, "mobile ×4, e-mail ×1")
    assert draft.turns[1].text == "打13800138000"
    assert "mobile number ×4, e-mail ×1" in said(PERSONAL_DATA, outcome)
    assert found(outcome).level == "care"
    assert "13800138000" not in repr(found(outcome))
    (drop,) = run(PERSONAL_DATA, [draft], renderer, "drop").drops
    assert (drop.index, drop.reason, drop.detail) == (0, "personal data", "mobile ×4, e-mail ×1")
    kept = run(PERSONAL_DATA, [draft], renderer, "keep")
    assert (kept.drops, kept.changes) == ((), [])
    assert "13800138000" not in repr(found(kept))


def test_a_number_in_a_call_alone_is_found(renderer: Renderer) -> None:
    call = ToolCall(name="dial", arguments='{"number": 13800138000}')
    turns = (Turn("user", "Call Ann"), Turn("assistant", "", calls=(call,)))
    (change,) = run(PERSONAL_DATA, [Draft(turns, "f", 1, "g")], renderer).changes
    assert json.loads(change.turns[1].calls[0].arguments) == {"number": "[mobile number]"}


def test_worse_answers_are_masked_too(renderer: Renderer) -> None:
    draft = qa("怎么联系？", "不便透露", kind="preference")
    draft.rejected = (Turn("assistant", "打13800138000"),)
    (change,) = run(PERSONAL_DATA, [draft], renderer).changes
    assert change.turns == draft.turns
    assert change.rejected == (Turn("assistant", "打〔手机号〕"),)


def test_an_organisations_own_contacts_stay(renderer: Renderer) -> None:
    answers = [f"请拨打0571-88886666或写信到service@corp.cn，第{n}条" for n in range(3)]
    drafts = rows(*((f"问题{n}", answer) for n, answer in enumerate(answers)))
    outcome = run(PERSONAL_DATA, drafts, renderer)
    assert (found(outcome).rows, found(outcome).facts["own"], outcome.changes) == (0, 2, [])
    assert said(PERSONAL_DATA, outcome).startswith("2 contacts")
    assert in_chinese(outcome).startswith("有 2 个联系方式")
    assert found(outcome).level == "info"
    # With a person's number beside it only that one goes.
    drafts.append(qa("我的手机13900139000", answers[0]))
    (change,) = run(PERSONAL_DATA, drafts, renderer).changes
    assert [turn.text for turn in change.turns] == ["我的手机〔手机号〕", answers[0]]


@pytest.mark.parametrize("asked", ["问题", "打13800138000没人接"])
def test_contacts_are_not_own_by_repetition_alone(renderer: Renderer, asked: str) -> None:
    drafts = rows(("问题", "打13800138000"), (asked, "打13800138000"), ("问题", "打13800138000"))
    outcome = run(PERSONAL_DATA, drafts, renderer)
    assert (found(outcome).rows, found(outcome).facts["own"]) == (3, 0)
    assert said(PERSONAL_DATA, outcome).startswith("3 rows")
    assert "contacts" not in said(PERSONAL_DATA, outcome)
    assert in_chinese(outcome).startswith("3 行疑似含有个人信息")
    assert "联系方式" not in in_chinese(outcome)


def test_a_contact_beside_an_identity_card_is_a_persons(renderer: Renderer) -> None:
    answer = "张律师13800138000，身份证11010519491231002X"
    outcome = run(PERSONAL_DATA, rows(*((f"问题{n}", answer) for n in range(4))), renderer)
    assert [c.turns[1].text for c in outcome.changes] == [
        "张律师〔手机号〕，身份证〔身份证号〕"
    ] * 4


def test_rows_without_any_say_nothing(renderer: Renderer) -> None:
    assert run(PERSONAL_DATA, rows(("合同怎么写？", "一式两份。")), renderer).finding is None


def test_plain_texts_are_masked(renderer: Renderer) -> None:
    draft = Draft((Turn("user", "电话 13800138000"),), "f", 1, "g", kind="text")
    (change,) = run(PERSONAL_DATA, [draft], renderer).changes
    assert change.turns[0].text == "电话 〔手机号〕"


def test_long_hostile_texts_are_read_in_time() -> None:
    for text in ("1" * 200_000, "a." * 100_000, "138-" * 50_000, "微信" * 50_000, "@a" * 100_000):
        assert find(text, PERSONAL) == []
    assert len(find("13800138000\n" * 20_000, PERSONAL)) == 20_000
