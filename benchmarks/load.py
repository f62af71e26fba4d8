"""A load of chat requests over plain sockets: many at once, streamed, timed.

    python benchmarks/load.py URL REQUESTS.jsonl [--key KEY]

Each line of the file is one request body. Prints one JSON object. A real client library would take
more processor time than some of the servers under test.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Reply:
    """One reply as it arrives.

    Attributes:
        first: seconds until the first piece of text.
        tokens: as the server counted them; pieces of text where it does not say.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.seconds = 0.0
        self.tokens = 0
        self.pieces = 0
        self.text = ""
        self.status = 0

    def line(self, line: bytes, seconds: float) -> None:
        """Take in one line of the stream."""
        if not line.startswith(b"data: {"):
            return
        event = json.loads(line[6:])
        if "error" in event:
            raise RuntimeError(f"the server failed: {event}")
        if event.get("usage"):
            self.tokens = int(event["usage"]["completion_tokens"])
        for choice in event.get("choices", ()):
            piece = (choice.get("delta") or {}).get("content") or ""
            if piece:
                self.pieces += 1
                self.text += piece
                self.first = seconds if self.first is None else self.first


async def ask(url: str, body: dict[str, Any], key: str | None) -> Reply:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 22)
    data = json.dumps(body).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1", f"Host: 127.0.0.1:{parts.port}", "Connection: close",
        "Content-Type: application/json", f"Content-Length: {len(data)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]  # fmt: skip
    began = time.perf_counter()
    reply = Reply()
    writer.write("\r\n".join([*head, "", ""]).encode() + data)
    try:
        reply.status = int((await reader.readline()).split()[1])
        if body.get("stream"):
            while line := await reader.readline():
                reply.line(line, time.perf_counter() - began)
        else:
            answer = await reader.read()
            if reply.status == 200:
                whole = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
                reply.tokens = whole["usage"]["completion_tokens"]
    finally:
        writer.close()
    reply.seconds = time.perf_counter() - began
    if reply.status != 200:
        raise RuntimeError(f"status {reply.status}")
    reply.tokens = reply.tokens or reply.pieces
    return reply


async def load(url: str, bodies: list[dict[str, Any]], key: str | None) -> dict[str, Any]:
    """All requests at once."""
    began = time.perf_counter()
    replies = await asyncio.gather(*(ask(url, body, key) for body in bodies))
    seconds = time.perf_counter() - began
    firsts = sorted(reply.first for reply in replies if reply.first is not None)
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "requests": len(replies),
        "tokens": sum(reply.tokens for reply in replies),
        "pieces": sum(reply.pieces for reply in replies),
        "seconds": seconds,
        "first_p50": firsts[len(firsts) // 2] if firsts else None,
        "first_p95": firsts[int(0.95 * len(firsts))] if firsts else None,
        "client_cpu_seconds": own.ru_utime + own.ru_stime,
        "texts": [reply.text for reply in replies],
    }


def main() -> None:
    """Send the requests and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("requests", type=Path)
    parser.add_argument("--key")
    options = parser.parse_args()
    bodies = [json.loads(line) for line in options.requests.read_text("utf-8").splitlines()]
    print(json.dumps(asyncio.run(load(options.url, bodies, options.key))))


if __name__ == "__main__":
    main()
