"""The HTTP client against raw sockets: what servers may send, and what they must not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tunewright.deployment.channel import Channel, ChannelError

Story = Callable[[Channel], Awaitable[None]]


def against(replies: list[bytes], story: Story) -> list[bytes]:
    """Play a story against a server that gives these bytes, one reply per request; what it got.

    A reply that ends with ``CLOSE`` closes the connection.
    """
    got: list[bytes] = []
    left = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                got.append(head + await reader.readexactly(length))
                reply = left.pop(0)
                for place in range(0, len(reply.removesuffix(b"CLOSE")), 5):
                    writer.write(reply.removesuffix(b"CLOSE")[place : place + 5])
                    await asyncio.sleep(0)
                await writer.drain()
                if reply.endswith(b"CLOSE"):
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        channel = Channel(f"http://127.0.0.1:{port}/v1", {"Authorization": "Bearer k"})
        try:
            await story(channel)
        finally:
            channel.close()
            server.close()

    asyncio.run(run())
    return got


def whole(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def read(channel: Channel) -> bytes:
    async with await channel.post("/x", {"a": 1}) as reply:
        assert reply.status == 200
        return await reply.whole()


def test_replies_come_whole_in_chunks_or_until_the_end() -> None:
    async def story(channel: Channel) -> None:
        assert await read(channel) == b"first"
        assert await read(channel) == b"second reply"
        assert await read(channel) == b""
        assert await read(channel) == b"until the end"

    got = against(
        [
            whole(b"first"),
            CHUNKED + b"7;x=y\r\nsecond \r\n5\r\nreply\r\n0\r\nTrailer: 1\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b""),
            b"HTTP/1.1 200 OK\r\n\r\nuntil the endCLOSE",
        ],
        story,
    )
    assert got[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert b"Authorization: Bearer k\r\n" in got[0]
    assert got[0].endswith(b'\r\n\r\n{"a":1}')


def test_a_connection_that_was_closed_meanwhile_is_made_again() -> None:
    async def story(channel: Channel) -> None:
        assert await read(channel) == b"one"
        await asyncio.sleep(0.05)
        assert await read(channel) == b"two"

    assert len(against([whole(b"one") + b"CLOSE", whole(b"two")], story)) == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"CLOSE",
        b"HTTP/1.1 200 OK\r\nContent-Le" + b"CLOSE",
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: 1\r\n" % n for n in range(300)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        whole(b"cut short")[:-3] + b"CLOSE",
        CHUNKED + b"5\r\nhel" + b"CLOSE",
        CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_reply_breaks_the_channel(reply: bytes) -> None:
    async def story(channel: Channel) -> None:
        with pytest.raises(ChannelError):
            await read(channel)

    against([reply], story)


def test_a_reply_that_nobody_reads_to_its_end_is_not_mixed_up() -> None:
    async def story(channel: Channel) -> None:
        async with await channel.post("/x", {}) as reply:
            assert await reply.some() == b"hello"
        assert await read(channel) == b"second"

    against([CHUNKED + b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", whole(b"second")] * 2, story)
