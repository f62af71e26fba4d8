"""The kinds of keys, tokens and passwords that can be told by their form."""

from __future__ import annotations

import math
import re
from collections import Counter

from tunewright.data.checks.masking import Kind

# Words in a value that say it is not one.
_PLACEHOLDER = re.compile(
    r"your|example|sample|placeholder|change.?me|dummy|x{4}|\*{3}|<|>|\$\{|\{\{|\.\.\.|…|1234567890abcdef",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[A-Za-z_.-]+[0-9]?")
_COMMON_DIGITS = frozenset({"123456", "1234567", "12345678", "123456789", "1234567890", "654321"})
_LEAST_ENTROPY = 3.0  # bits per character; English words have less than that in short pieces
_LEAST_PASSWORD_ENTROPY = 2.3


def entropy(value: str) -> float:
    """Shannon's entropy of a text's characters, in bits per character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)


def _random(value: str) -> bool:
    """Whether it looks drawn by lot: letters with digits, many different ones, no placeholder."""
    mixed = re.search(r"[0-9]", value) and re.search(r"[A-Za-z]", value)
    return bool(mixed) and entropy(value) >= _LEAST_ENTROPY and not _PLACEHOLDER.search(value)


def _token(match: re.Match[str]) -> bool:
    return _random(match["value"] if "value" in match.re.groupindex else match.group())


def _aws(match: re.Match[str]) -> bool:
    return not match.group().endswith("EXAMPLE") and _token(match)


def _key_block(match: re.Match[str]) -> bool:
    return re.search(r"[0-9A-Za-z+/=]{24}", match["value"]) is not None


def _password(match: re.Match[str]) -> bool:
    value = match["value"]
    if _PLACEHOLDER.search(value) or _IDENTIFIER.fullmatch(value) or len(set(value)) < 4:
        return False
    if value.isdigit():
        return value not in _COMMON_DIGITS and len(value) <= 16
    classes = sum(bool(re.search(c, value)) for c in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"))
    return classes >= 2 and entropy(value) >= _LEAST_PASSWORD_ENTROPY


def _in_address(match: re.Match[str]) -> bool:
    value = match["value"]
    ordinary = value.lower() in ("password", "passwd", "pass", "pwd", "secret", "token")
    return not ordinary and not _PLACEHOLDER.search(value)


def _kind(name: str, zh: str, hint: str, pattern: str) -> Kind:
    """A key with a prefix of its own."""
    return Kind(name, {"en": name, "zh": zh}, hint, re.compile(pattern), _token)


_KEYS = (
    ("API key", "API 密钥", r"sk-", r"(?<![0-9A-Za-z])sk-[0-9A-Za-z_-]{20,200}"),
    ("API key", "API 密钥", r"AIza", r"AIza[0-9A-Za-z_-]{35}"),
    ("GitHub token", "GitHub 令牌", r"gh[pousr]_", r"gh[pousr]_[0-9A-Za-z]{36,255}"),
    ("GitHub token", "GitHub 令牌", r"github_pat_", r"github_pat_[0-9A-Za-z_]{40,255}"),
    ("GitLab token", "GitLab 令牌", r"glpat-", r"glpat-[0-9A-Za-z_-]{20,64}"),
    ("Slack token", "Slack 令牌", r"xox[abeoprs]-", r"xox[abeoprs]-[0-9A-Za-z-]{10,250}"),
    ("Hugging Face token", "Hugging Face 令牌", r"hf_", r"(?<![0-9A-Za-z])hf_[0-9A-Za-z]{30,64}"),
    ("cloud access key", "云服务密钥", r"LTAI", r"(?<![0-9A-Za-z])LTAI[0-9A-Za-z]{12,28}"),
    ("cloud access key", "云服务密钥", r"AKID", r"(?<![0-9A-Za-z])AKID[0-9A-Za-z]{13,40}"),
    (
        "JSON web token",
        "JWT 令牌",
        r"eyJ",
        r"(?<![0-9A-Za-z_.-])eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}",
    ),
    (
        "bearer token",
        "访问令牌",
        r"(?i:bearer)",
        r"(?i:bearer)\s+(?P<value>[0-9A-Za-z._~+/-]{16,2000}=*)",
    ),
)

SECRETS: tuple[Kind, ...] = (
    Kind(
        "private key",
        {"en": "private key", "zh": "私钥"},
        "PRIVATE KEY-----",
        # A block that is cut short ends with the text.
        re.compile(
            r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY-----(?P<value>[0-9A-Za-z+/=\s:,.\\-]{16,}?)"
            r"(?=-----END|\Z|[^0-9A-Za-z+/=\s:,.\\-])"
        ),
        _key_block,
    ),
    *(_kind(*entry) for entry in _KEYS),
    Kind(
        "cloud access key",
        {"en": "cloud access key", "zh": "云服务密钥"},
        "AKIA|ASIA",
        re.compile(r"(?<![0-9A-Za-z])(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
        _aws,
    ),
    Kind(
        "password in an address",
        {"en": "password", "zh": "密码"},
        "://",
        re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,64}:(?P<value>[^\s/@]{3,128})@"),
        _in_address,
    ),
    Kind(
        "password",
        {"en": "password", "zh": "密码"},
        r"(?i:passw|pwd)|密码|口令",
        re.compile(
            r"(?:(?i:password|passwd|passwort|pwd)|密码|口令)[\"']?\s*(?:[:=]|(?i:is\b)|是|为)\s*"
            r"[\"'“「]?(?P<value>[0-9A-Za-z!@#$%^&*_+=.~?-]{5,63}[0-9A-Za-z!@#$%^&*_+=~])"
            r"(?![0-9A-Za-z(\[位])"
        ),
        _password,
    ),
    Kind(
        "secret",
        {"en": "secret", "zh": "密钥"},
        r"(?i:secret|token|api_?-?key|access_?-?key)|密钥|秘钥",
        re.compile(
            r"(?:(?i:secret|token|api[_-]?key|access[_-]?key(?:[_-]?(?:id|secret))?)|密钥|秘钥)"
            r"[\"']?\s*(?:[:=]|是|为)\s*[\"'“「]?"
            r"(?P<value>[0-9A-Za-z+/_=.-]{16,256})(?![0-9A-Za-z(\[])"
        ),
        _token,
    ),
)
