"""Metrics: what they count, and how few labels they have."""

import json
import re
from pathlib import Path

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tunewright.api.metrics import OTHER, Metrics
from tunewright.core.api_keys import issue_key
from tunewright.core.settings import Settings
from tunewright.core.store import Store
from tunewright.deployment.upstream import EngineState

from .conftest import HELLO, PATIENCE, start_server


def samples(text: str) -> dict[tuple[str, ...], float]:
    """``{(name, label value, …): value}``, labels by their names' order."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = (value for _, value in sorted(sample.labels.items()))
            found[sample.name, *labels] = sample.value
    return found


def test_engines_are_read_when_metrics_are() -> None:
    blocks = {"used": 3, "kept": 2, "free": 11}
    states = [
        EngineState("nano", True, False, 3, 4, blocks), EngineState("other", False, True, 0, 1),
    ]  # fmt: skip
    found = samples(Metrics(lambda: states).text().decode())
    assert found["tunewright_engine_up", "nano"] == 1
    assert found["tunewright_engine_up", "other"] == 0
    assert found["tunewright_queue_length", "nano"] == 3
    assert found["tunewright_engine_restarts_total", "nano"] == 3
    assert found["tunewright_engine_restarts_total", "other"] == 0
    kept = {key[1:]: value for key, value in found.items() if key[0] == "tunewright_kv_blocks"}
    assert kept == {("nano", state): count for state, count in blocks.items()}


def test_very_many_models_become_one_label() -> None:
    metrics = Metrics(list)
    labels = {metrics.model(f"ft:nano:{number}") for number in range(2000)}
    assert len(labels) == 501
    assert OTHER in labels
    assert metrics.model("ft:nano:0") == "ft:nano:0"


def test_a_server_counts_what_it_does(slow_base: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = Store(home, Settings(home=home, offline=True))
    client_key = issue_key(store, "crm", limits={"requests_per_minute": 5}).secret
    scraper = issue_key(store, "prometheus", scopes=("metrics",)).secret
    store.close()
    server = start_server(home, bases=[str(slow_base)], timeout=PATIENCE)
    canary = "canary-of-a-name-that-nobody-serves"
    client = openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=client_key, max_retries=0, timeout=PATIENCE
    )
    ask = client.chat.completions.create
    try:
        whole = ask(model="slow", messages=HELLO, max_tokens=6)
        assert whole.usage is not None
        pieces = list(ask(model="slow", messages=HELLO, max_tokens=6, stream=True))
        for _ in range(3):
            with pytest.raises(openai.NotFoundError):
                ask(model=canary, messages=HELLO)
        with pytest.raises(openai.RateLimitError):
            ask(model="slow", messages=HELLO)
        httpx.get(f"{server.url}/{canary}")
        headers = {"Authorization": f"Bearer {scraper}"}
        reply = httpx.get(f"{server.url}/metrics", headers=headers)
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 403
    finally:
        client.close()
        server.stop()
    found, chat = samples(reply.text), "/v1/chat/completions"
    assert found["tunewright_requests_total", "slow", chat, "200"] == 2
    assert found["tunewright_requests_total", "unknown", chat, "404"] == 3
    assert found["tunewright_requests_total", "", chat, "429"] == 1
    assert found["tunewright_requests_total", "", "unmatched", "404"] == 1
    assert found["tunewright_rate_limited_total", "requests"] == 1
    assert found["tunewright_errors_total", "client", chat] == 4
    assert found["tunewright_tokens_total", "prompt", "slow"] == 2 * whole.usage.prompt_tokens
    assert found["tunewright_tokens_total", "completion", "slow"] == (
        2 * whole.usage.completion_tokens
    )
    texts = sum(bool(chunk.choices[0].delta.content) for chunk in pieces)
    assert found["tunewright_time_to_first_token_seconds_count", "slow"] == 1
    assert found["tunewright_inter_token_seconds_count", "slow"] == texts - 1
    assert found["tunewright_request_seconds_count", chat] == 6
    assert found["tunewright_in_flight_requests",] == 1  # the one that asks for the metrics
    assert found["tunewright_engine_up", "slow"] == 1
    assert found["tunewright_queue_length", "slow"] == 0
    assert found["tunewright_kv_blocks", "slow", "used"] == 0
    assert found["tunewright_kv_blocks", "slow", "free"] > 0
    for secret in (canary, client_key[10:], scraper[10:], "hello", "key_"):
        assert secret not in reply.text


def test_the_example_dashboard_asks_for_what_there_is() -> None:
    folder = Path(__file__).resolve().parents[2] / "examples" / "monitoring"
    dashboard = json.loads((folder / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"tunewright_[a-z_]+", target["expr"])
    }
    state = EngineState("nano", True, False, 0, 1, {"free": 1})
    families = {
        line.split()[2]
        for line in Metrics(lambda: [state]).text().decode().splitlines()
        if line.startswith("# TYPE")
    }
    told = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    assert told <= families
    assert {name for name in families if not name.endswith("_created")} == told
