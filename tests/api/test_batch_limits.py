"""Batches within limits: they wait, leave room to those who do not, and lose and repeat nothing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tunewright.core.api_keys import issue_key
from tunewright.core.store import Store
from tunewright.core.usage import read_usage
from tunewright.deployment.deploy import Order, deploy

from .conftest import HELLO, PATIENCE, eventually, start_server
from .strange_server import strange

CHAT = "/v1/chat/completions"
LINES = 12


def lines() -> bytes:
    told = [
        {"custom_id": f"{n}", "method": "POST", "url": CHAT,
         "body": {"model": "clerk", "messages": [{"role": "user", "content": f"question {n}"}]}}
        for n in range(LINES)
    ]  # fmt: skip
    return b"".join(json.dumps(one).encode() + b"\n" for one in told)


@pytest.mark.timeout(120)
def test_a_batch_waits_for_its_deployments_limit_and_counts_against_its_key(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    store = Store(home)
    key, secret = issue_key(store, "crm", limits={"requests_per_minute": 1000})
    with strange("one") as other:
        server = start_server(home, upstreams={"one": other.upstream()}, jobs={"slots": 0})
        try:
            order = {"model": "upstream:one", "limits": {"requests_per_minute": 8}}
            deploy(store, Order("clerk", order))
            with openai.OpenAI(
                base_url=f"{server.url}/v1", api_key=secret, max_retries=0, timeout=PATIENCE
            ) as client:
                assert eventually(lambda: "clerk" in [one.id for one in client.models.list()])
                file = client.files.create(file=("in.jsonl", lines()), purpose="batch")
                batch: Any = client.batches.create(
                    input_file_id=file.id, endpoint=CHAT, completion_window="24h"
                ).id

                def completed() -> int:
                    counts = client.batches.retrieve(batch).request_counts
                    return 0 if counts is None else counts.completed

                assert eventually(lambda: completed() == 4), "half of the limit"
                for _ in range(4):
                    # Those who wait have the other half.
                    reply = client.chat.completions.with_raw_response.create(
                        model="clerk", messages=HELLO
                    )
                    assert reply.http_response.status_code == 200
                with pytest.raises(openai.RateLimitError):
                    client.chat.completions.create(model="clerk", messages=HELLO)
                assert completed() == 4
                deploy(store, Order("clerk", {"limits": {"requests_per_minute": 1000}}))
                assert eventually(lambda: client.batches.retrieve(batch).status == "completed")
                asked = Counter(one["messages"][-1]["content"] for one in other.asked)
                assert [asked[f"question {n}"] for n in range(LINES)] == [1] * LINES
                before = int(remaining(client))
                assert 1000 - before > LINES + 8, "lines count as requests of the key"
        finally:
            server.stop()
    used = {row["key"]: row["requests"] for row in read_usage(store, "key", 86400)}
    store.close()
    assert used[key.id] > LINES


def remaining(client: openai.OpenAI) -> str:
    reply = client.get("/models", cast_to=httpx.Response)
    return str(reply.headers["x-ratelimit-remaining-requests"])
