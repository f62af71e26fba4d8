"""Keys and passwords: found by form, told from placeholders; all of them are made up."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.checks.compared import found, qa, rows, run, said

from tunewright.core.messages import ToolCall
from tunewright.data.checks.masking import find, joined_hints, mask
from tunewright.data.checks.secret_kinds import SECRETS as KINDS
from tunewright.data.checks.secret_kinds import entropy
from tunewright.data.checks.secrets import SECRETS
from tunewright.data.records import Draft, Turn
from tunewright.model.rendering import Renderer

# Put together here, so that no scanner takes this file for a leak.
DRAWN = "7Qk2Zp9Xw4Lm8Rt6Vb3Nc5Hd1Jf0Gs"
OPENAI = "sk-" + DRAWN
GITHUB = "ghp" + "_" + DRAWN + "AbCd12"
JWT = ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", "dozjgNryP4J3jVmNHl0w5N"))
KEY_LINES = "MIIEpAIBAAKCAQEA7Qk2Zp9Xw4Lm8Rt6Vb3Nc5Hd1Jf0Gs"
BLOCK = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_LINES}\n-----END RSA PRIVATE KEY-----"


@pytest.fixture(scope="module")
def renderer(tiny_base: Path) -> Renderer:
    return Renderer(tiny_base)


def hidden(text: str) -> str:
    """The masked text, once the prefilter is known not to pass it over."""
    masked, done = mask(text, KINDS)
    if done:
        assert pl.Series([text]).str.contains(joined_hints(KINDS))[0], text
    return masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"use {OPENAI} now", "use [API key] now"),
        (f"key: sk-proj-{DRAWN}", "key: [API key]"),
        (f"密钥{OPENAI}", "密钥〔API 密钥〕"),
        (f"push with {GITHUB}", "push with [GitHub token]"),
        ("github_pat" + "_" + 2 * DRAWN, "[GitHub token]"),
        ("AKIA" + "7QK2ZP9XW4LM8RT6", "[cloud access key]"),
        ("LTAI5t" + "7Qk2Zp9Xw4Lm8R", "[cloud access key]"),
        ("AKID" + DRAWN, "[cloud access key]"),
        ("AIza" + "Sy" + DRAWN + "Ab1", "[API key]"),
        ("hf" + "_" + DRAWN + "AbC", "[Hugging Face token]"),
        ("xoxb-" + "123456789012-" + "7Qk2Zp9Xw4", "[Slack token]"),
        (f"Authorization: Bearer {DRAWN}", "Authorization: Bearer [bearer token]"),
        (f"token {JWT}", "token [JSON web token]"),
        ("postgres://admin:s3cr3t-Pw@db.host/x", "postgres://admin:[password]@db.host/x"),
        ("password=Tr0ub4dor&3", "password=[password]"),
        ('"password": "Tr0ub4dor&3"', '"password": "[password]"'),
        ("密码：Abc12345", "密码：〔密码〕"),
        ("登录密码是 zhang1987!，记好", "登录密码是 〔密码〕，记好"),
        ("初始密码为830217", "初始密码为〔密码〕"),
        (f"API_KEY = '{DRAWN}'", "API_KEY = '[secret]'"),
        (f"secret={DRAWN}", "secret=[secret]"),
    ],
)
def test_they_are_found(text: str, masked: str) -> None:
    assert hidden(text) == masked


def test_private_keys_are_hidden_whole_even_cut_short() -> None:
    assert KEY_LINES not in hidden(f"Here:\n{BLOCK}\nThanks")
    assert hidden(f"Here:\n{BLOCK}\nThanks").endswith("-----END RSA PRIVATE KEY-----\nThanks")
    assert KEY_LINES not in hidden(BLOCK[:-30])


@pytest.mark.parametrize(
    "text",
    [
        "sk-your-api-key-goes-here-please1",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxx1a",
        "risk-management-and-task-scheduling-2024",
        "sk-learn-has-many-nice-estimators",
        "AKIAIOSFODNN7EXAMPLE",
        "Authorization: Bearer YOUR_API_KEY",
        "Bearer authentication is a scheme",
        "https://user:password@host/x",
        "https://host.com:8080/a@b",
        "密码忘记了怎么办",
        "密码：6-18位字母和数字",
        "密码：123456",
        "密码是银行卡后六位",
        "password: required",
        "password=your_password1",
        "password = getpass.getpass()",
        'password = os.environ["DB_PASSWORD"]',
        "password is incorrect",
        "token = tokenizer.encode(text1)",
        "the secret: never_give_up",
        "token: string",
        "hf_hub_download(repo_id)",
        "api_key=<API_KEY>",
        "password=${DB_PASSWORD1}",
        "-----BEGIN PUBLIC KEY-----",
        "It starts with -----BEGIN PRIVATE KEY----- and then some lines of base64 follow.",
    ],
)
def test_placeholders_and_prose_stay(text: str) -> None:
    assert hidden(text) == text


def test_entropy_is_in_bits_per_character() -> None:
    assert entropy("aaaa") == 0
    assert entropy("ab") == pytest.approx(1)
    assert entropy("0123456789abcdef") == pytest.approx(4)


def test_rows_are_masked_dropped_or_kept_and_never_quoted(renderer: Renderer) -> None:
    call = ToolCall(name="query", arguments=f'{{"key": "{OPENAI}"}}')
    turns = (Turn("user", f"我的密钥{OPENAI}"), Turn("assistant", "好", calls=(call,)))
    drafts = [qa("别的", "问题"), Draft(turns, "f", 2, "g")]
    outcome = run(SECRETS, drafts, renderer)
    (change,) = outcome.changes
    assert change.turns[0].text == "我的密钥〔API 密钥〕"
    assert change.turns[1].calls[0].arguments == '{"key": "〔API 密钥〕"}'
    assert change.detail == "API key ×2"
    assert "API key ×2" in said(SECRETS, outcome)
    assert found(outcome).level == "care"
    (drop,) = run(SECRETS, drafts, renderer, "drop").drops
    assert (drop.index, drop.reason, drop.detail) == (1, "secret", "API key ×2")
    kept = run(SECRETS, drafts, renderer, "keep")
    assert (kept.drops, kept.changes) == ((), [])
    assert DRAWN not in repr((outcome.finding, drop, kept.finding))


def test_a_password_made_on_request_is_none(renderer: Renderer) -> None:
    drafts = rows(
        ("请生成一个随机密码", "新密码：aB3#fG6&kL9@"), ("我的密码是多少", "密码：aB3#fG6&kL9!")
    )
    assert [change.index for change in run(SECRETS, drafts, renderer).changes] == [1]
    assert run(SECRETS, drafts[:1], renderer).finding is None


def test_long_hostile_texts_are_read_in_time() -> None:
    for text in ("eyJ" * 50_000, "sk-" * 50_000, "-----BEGIN PRIVATE KEY-----" * 5_000,
                 "password " * 20_000, "http://" * 20_000, "a:b" * 50_000):  # fmt: skip
        assert find(text, KINDS) == []
