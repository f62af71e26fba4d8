"""The wire itself: hostile requests, bounds, and what never loads."""

import json
import subprocess
import sys

import httpx
import pytest

from .conftest import HELLO, Server


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}"]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.append("Host: 127.0.0.1")
    if not any(header.lower().startswith("content-type:") for header in headers):
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def status_and_error(reply: bytes) -> tuple[int, dict[str, str]]:
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1/v1/models?",
     "localhost@evil.example", "x/docs?", "169.254.169.254", ""],
)  # fmt: skip
def test_another_hosts_name_is_refused(server: Server, host: str) -> None:
    status, error = status_and_error(server.raw(post(CHAT, b"{}", f"Host: {host}")))
    assert status == 403
    assert error["code"] == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
def test_this_machines_names_are_welcome(server: Server, host: str) -> None:
    status, error = status_and_error(server.raw(post(CHAT, b"{}", f"Host: {host}")))
    assert (status, error["param"]) == (400, "model")


def test_other_sites_pages_are_refused(server: Server) -> None:
    body = json.dumps({"model": "slow", "messages": HELLO}).encode()
    status, error = status_and_error(server.raw(post(CHAT, body, "Origin: https://evil.example")))
    assert (status, error["code"]) == (403, "origin_not_allowed")
    status, _ = status_and_error(server.raw(post(CHAT, body, "Origin: null")))
    assert status == 403
    status, _ = status_and_error(server.raw(post(CHAT, body, "Content-Type: text/plain")))
    assert status == 415


@pytest.mark.parametrize("body", [b"", b"{", b"\x00\xff", b"[1]", b"[" * 5000, b'"x"'])
def test_what_is_no_json_object_is_a_bad_request(server: Server, body: bytes) -> None:
    status, error = status_and_error(server.raw(post(CHAT, body)))
    assert (status, error["type"]) == (400, "invalid_request_error")


def test_a_body_that_is_too_large_is_refused(server: Server) -> None:
    content = "x" * (2 * 1024 * 1024)
    reply = server.chat(messages=[{"role": "user", "content": content}])
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_too_large"


def test_routing_errors_have_the_same_shape(server: Server) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/docs", 404),
        ("PUT", CHAT, 405),
        ("DELETE", "/v1/models", 405),
        ("PUT", "/health", 405),
    ):
        reply = httpx.request(method, server.url + path)
        assert reply.status_code == status, path
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert reply.headers["x-request-id"].startswith("req_")
        assert ("allow" in reply.headers) == (status == 405)


def test_health_is_open_and_the_document_is_served(server: Server) -> None:
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/openapi.json").json()["info"]["title"] == "Tunewright"


def test_engines_answer_nobody_but_their_gateway(server: Server) -> None:
    (engine,) = server.engines()
    ports = _listening(engine)
    assert len(ports) == 1
    for method, path in (("GET", "/health"), ("POST", CHAT), ("POST", "/v1/load_lora_adapter")):
        reply = httpx.request(method, f"http://127.0.0.1:{ports[0]}{path}", json={})
        assert reply.status_code == 401
    with open(f"/proc/{engine}/cmdline") as cmdline, open(f"/proc/{engine}/environ") as environ:
        assert "token" not in (cmdline.read() + environ.read()).lower().replace("hf_token", "")


def _listening(pid: int) -> list[int]:
    """Ports of the loopback interface that a process listens on; fails on any other address."""
    import os
    from pathlib import Path

    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(link)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                assert address == "0100007F"
                ports.append(int(port, 16))
    return ports


def test_importing_the_api_loads_no_torch() -> None:
    program = (
        "import sys, tunewright.api.serve, tunewright.api.app\n"
        "print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
