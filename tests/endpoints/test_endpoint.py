"""Where requests go, in what form, and what refusals mean."""

import json
import os
from pathlib import Path

import httpx
import pytest

from tunewright.config.endpoint import EndpointConfig
from tunewright.core.errors import ConfigError
from tunewright.core.settings import Settings, read_settings
from tunewright.endpoints.address import find_address
from tunewright.endpoints.dialect import Dialect, adapted
from tunewright.endpoints.refusals import LONGEST_WAIT, pause, retry_after, said


def config(endpoint: str, **values: object) -> EndpointConfig:
    return EndpointConfig.build({"endpoint": endpoint, "model": "m", **values})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/chat/completions"),
        ("https://api.example.com/v1/", "https://api.example.com/v1/chat/completions"),
        (
            "https://x.example/v1/chat/completions?api-version=2024#top",
            "https://x.example/v1/chat/completions?api-version=2024",
        ),
    ],
)
def test_endpoints_are_completed(given: str, url: str, tmp_path: Path) -> None:
    assert str(find_address(config(given), Settings(tmp_path)).url) == url


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ftp://example.com", "no http or https URL"),
        ("example.com/v1", "no http or https URL"),
        ("https://user:secret@example.com/v1", "user name or password"),
        ("http://[::1", "not a URL"),
    ],
)
def test_what_is_no_endpoint_is_refused(given: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        find_address(config(given), Settings(tmp_path))
    assert "secret" not in str(caught.value)


def test_a_key_made_for_openai_is_told_to_openai_only(tmp_path: Path) -> None:
    settings = Settings(tmp_path, openai_key="sk-openai")
    assert find_address(config("https://api.openai.com/v1"), settings).key == "sk-openai"
    for other in ("http://api.openai.com/v1", "https://api.openai.com.example/v1"):
        assert find_address(config(other), settings).key is None
    both = Settings(tmp_path, openai_key="sk-openai", endpoint_key="own")
    assert find_address(config("https://api.openai.com/v1"), both).key == "own"


def test_a_key_file_wins_and_keys_are_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("\ufefffrom-file\n", encoding="utf-8")
    settings = Settings(tmp_path, endpoint_key="from-variable")
    address = find_address(config("http://example.com", key_file=str(file)), settings)
    assert address.key == "from-file"
    assert address.exposed
    assert "from-" not in repr(address) + repr(settings)
    assert not find_address(config("http://localhost"), settings).exposed
    assert not find_address(config("https://example.com"), settings).exposed


@pytest.mark.parametrize("content", ["", "two words", "键\n"])
def test_a_key_file_without_a_key_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="key"):
        find_address(config("http://x.example", key_file=str(file)), Settings(tmp_path))


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TUNEWRIGHT_ENDPOINT_KEY", "OPENAI_API_KEY"):
        monkeypatch.setitem(os.environ, name, f"of {name}")
    settings = read_settings(tmp_path)
    assert settings.endpoint_key == "of TUNEWRIGHT_ENDPOINT_KEY"
    assert settings.openai_key == "of OPENAI_API_KEY"


# Refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("86400", LONGEST_WAIT),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2016 07:28:10 GMT", LONGEST_WAIT),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_retry_after_in_both_forms(text: str, seconds: float | None) -> None:
    assert retry_after(httpx.Headers({"Retry-After": text}), now=1445412480.0) == seconds


def test_pauses_double_up_to_a_bound() -> None:
    assert [pause(attempt, 0.999999) for attempt in (1, 2, 3)] == pytest.approx([0.5, 1, 2], 1e-3)
    assert pause(1, 0.0) == 0.25
    assert pause(200, 0.999999) <= LONGEST_WAIT


def test_what_an_endpoint_says_is_one_harmless_line() -> None:
    body = json.dumps({"error": {"message": "bad\n\x1b[31mkey sk-1", "code": "invalid"}}).encode()
    assert said(body, "sk-1") == ("bad [31mkey …", "invalid")
    assert said(b'{"error": "plain"}', None) == ("plain", "")
    assert said(b'{"detail": "vLLM"}', None) == ("vLLM", "")
    assert said(b"<html>", None) == ("", "")
    assert len(said(json.dumps({"error": "x" * 9999}).encode(), None)[0]) <= 300


# Dialects --------------------------------------------------------------------------------------


def error(message: str, param: str | None = None, code: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "param": param, "code": code}}).encode()


FULL = Dialect()


@pytest.mark.parametrize(
    ("body", "better"),
    [
        (error("no", "response_format"), FULL._replace(format="json_object")),
        (error("no", "response_format.type"), FULL._replace(format="json_object")),
        (error("'json_schema' is not supported"), FULL._replace(format="json_object")),
        (error("no", "n"), FULL._replace(many=False)),
        (error("Only n = 1 is allowed"), FULL._replace(many=False)),
        (error("Unsupported value", "temperature"), FULL._replace(temperature=False)),
        (
            error("Use 'max_completion_tokens' instead.", "max_tokens"),
            FULL._replace(limit="max_completion_tokens"),
        ),
        (error("messages too long", None, "context_length_exceeded"), None),
        (error("n", "messages"), None),
        (error("The content was filtered"), None),
        (b"oops", None),
        (b"[]", None),
    ],
)
def test_a_refused_field_changes_the_form(body: bytes, better: Dialect | None) -> None:
    assert adapted(FULL, body) == better


def test_no_form_is_tried_twice() -> None:
    weak = FULL._replace(format=None, many=False, temperature=False)
    for param in ("response_format", "n", "temperature"):
        assert adapted(weak, error("no", param)) is None
