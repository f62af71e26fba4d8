"""Moderations are refused in so many words, and no client asks again."""

from __future__ import annotations

import openai
import pytest

from .conftest import PATIENCE, Server


def test_moderations_are_refused(server: Server) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=PATIENCE)
    with client, pytest.raises(openai.BadRequestError) as caught:
        client.moderations.create(input="a text")
    assert caught.value.code == "moderation_not_supported"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "chat/completions" in caught.value.message
