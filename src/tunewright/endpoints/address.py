"""Where an endpoint is, and which key it is told."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tunewright.config.endpoint import EndpointConfig
from tunewright.core.errors import ConfigError
from tunewright.core.settings import Settings

_PATH = "/chat/completions"
_OPENAI = "api.openai.com"
_MOST_KEY_BYTES = 4096


@dataclass(frozen=True)
class Address:
    """An endpoint.

    Attributes:
        url: of ``/chat/completions``.
        key: sent as a bearer token; never shown.
        loopback: whether it is on this machine.
    """

    url: httpx.URL
    key: str | None = field(default=None, repr=False)
    loopback: bool = False

    @property
    def embeddings(self) -> httpx.URL:
        """Where the same API makes embeddings."""
        return self.url.copy_with(path=self.url.path.removesuffix(_PATH) + "/embeddings")

    @property
    def tokenize(self) -> httpx.URL:
        """Where vLLM and our own server turn a conversation into token ids."""
        path = self.url.path.removesuffix(_PATH).removesuffix("/v1")
        return self.url.copy_with(path=f"{path}/tokenize")

    @property
    def exposed(self) -> bool:
        """Whether the key would cross a network in the clear."""
        return self.key is not None and self.url.scheme == "http" and not self.loopback


def find_address(config: EndpointConfig, settings: Settings) -> Address:
    """The endpoint's URL and key.

    A key for OpenAI (``OPENAI_API_KEY``) is told to OpenAI only; a key file wins over both
    variables.

    Raises:
        ConfigError: no usable URL, or a key file without a key.
    """
    url = _url(config.endpoint)
    key = settings.endpoint_key
    if config.key_file is not None:
        key = _read_key(Path(config.key_file))
    elif key is None and url.host == _OPENAI and url.scheme == "https":
        key = settings.openai_key
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ConfigError("the API key holds characters that no key has", "Copy it again.")
    return Address(url, key, _is_loopback(url.host))


def _url(text: str) -> httpx.URL:
    example = "Example: --endpoint http://127.0.0.1:8000/v1"
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError(f"option 'endpoint': not a URL ({error})", example) from None
    if url.userinfo:
        raise ConfigError(
            "option 'endpoint': the URL holds a user name or password",
            "Give the key with --key-file or in TUNEWRIGHT_ENDPOINT_KEY.",
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"option 'endpoint': {text!r} is no http or https URL", example)
    path = url.path.rstrip("/").removesuffix(_PATH) or "/v1"
    return url.copy_with(path=path + _PATH, fragment=None)


def _read_key(path: Path) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            key = file.read(_MOST_KEY_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"option 'key_file': {path} cannot be read ({why})") from None
    if not key or len(key.split()) != 1:
        raise ConfigError(f"option 'key_file': {path} does not hold one key", "One line, one key.")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
