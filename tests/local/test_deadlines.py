"""Sockets that send half of something, or nothing, are closed; a head that is too long is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect

from ably_ai_transport.local import LocalServer, LocalServerOptions
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FAST = LocalServerOptions(request_timeout_ms=200, ping_timeout_ms=200)


@pytest.fixture
async def strict() -> AsyncIterator[LocalServer]:
    async with LocalServer(FAST) as server:
        yield server


async def until_closed(server: LocalServer, *chunks: bytes, pause: float = 0) -> bytes:
    """Send chunks, then nothing; returns all that the server says before it closes."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(pause)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEAD = b"POST /channels/c/messages HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"GE", b"HTTP/1.1 408 "),
        (b"GET /time HTTP/1.1\r\nHo", b"HTTP/1.1 408 "),
        (b"GET /?key=a.b:c HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 100\r\n\r\n[", b"HTTP/1.1 40"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[", b"HTTP/1.1 40"),
    ],
)
async def test_half_a_request_is_closed(strict: LocalServer, sent: bytes, answer: bytes) -> None:
    assert (await until_closed(strict, sent)).startswith(answer)
    async with raw_client(strict) as client:
        await client.publish("c", {"data": "x"})


async def test_half_a_body_with_good_credentials_is_closed(strict: LocalServer) -> None:
    head = HEAD.replace(b"messages ", f"messages?key={strict.key} ".encode())
    said = await until_closed(strict, head + b"Content-Length: 100\r\n\r\n[")
    assert said.startswith(b"HTTP/1.1 408 ")


async def test_bytes_that_trickle_in_do_not_move_the_deadline(strict: LocalServer) -> None:
    with anyio.fail_after(3):
        said = await until_closed(strict, *[b"X"] * 200, pause=0.02)
    assert said.startswith((b"HTTP/1.1 408 ", b""))


async def test_the_second_request_of_a_socket_has_a_deadline_too(strict: LocalServer) -> None:
    said = await until_closed(strict, b"GET /time HTTP/1.1\r\nHost: a\r\n\r\nGET /ti")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in said
    said = await until_closed(strict, b"GET /time HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n", pause=0.05)
    assert said.startswith(b"HTTP/1.1 200 ")


async def test_a_socket_that_is_used_stays_open(strict: LocalServer) -> None:
    """The deadline is for a request, not for the socket."""
    async with httpx.AsyncClient(base_url=strict.url, trust_env=False) as client:
        sockets: set[object] = set()
        for _ in range(5):
            response = await client.get("/time")
            sockets.add(response.extensions["network_stream"].get_extra_info("client_addr"))
            await asyncio.sleep(0.1)
    assert len(sockets) == 1


async def test_an_answer_that_nobody_reads_is_dropped(strict: LocalServer) -> None:
    async with raw_client(strict) as publisher:
        for _ in range(40):
            await publisher.post("c", {"data": "x" * 60_000})
        await publisher.settled()
    request = f"GET /channels/c/messages?key={strict.key} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(strict.host, strict.port, limit=1024)
    writer.write(request * 4)
    await writer.drain()
    with anyio.fail_after(5):
        # The client reads only after the deadline: it gets what the kernels had buffered, and an end.
        await asyncio.sleep(0.5)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(4 * 40 * 60_000)
    writer.close()


async def test_a_websocket_that_answers_no_ping_is_cut_and_can_be_resumed(strict: LocalServer) -> None:
    async with raw_client(strict, "alice") as client:
        id_, key = client.id, client.key
        client.socket.transport.pause_reading()
        with anyio.fail_after(5):
            while strict.stats.connections:  # noqa: ASYNC110 - the server offers no event
                await asyncio.sleep(0.01)
        client.socket.transport.resume_reading()
        await client.closed()
    async with raw_client(strict, "alice", resume=key) as again:
        assert again.id == id_


async def test_half_a_frame_is_cut(strict: LocalServer) -> None:
    async with raw_client(strict) as client:
        client.socket.transport.write(b"\x81\xfe")
        with anyio.fail_after(5):
            await client.closed()


async def test_a_websocket_that_answers_pings_stays(strict: LocalServer) -> None:
    async with raw_client(strict) as client:
        await asyncio.sleep(1)
        await client.publish("c", {"data": "x"})


async def test_a_black_hole_stays_open(strict: LocalServer) -> None:
    async with raw_client(strict, "alice") as client:
        strict.faults.black_hole("alice")
        await asyncio.sleep(0.8)
        assert strict.stats.connections == 1
        client.socket.transport.abort()


@pytest.mark.parametrize("size", [9_000, 20_000, 200_000])
async def test_a_long_url_is_answered(strict: LocalServer, size: int) -> None:
    path = b"/time?x=" + b"x" * size
    said = await until_closed(strict, b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    # Beyond 16 KiB, the answer depends on whether the head came in one piece.
    assert said.startswith(b"HTTP/1.1 200 " if size < 16_000 else (b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    upgrade = b"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    said = await until_closed(strict, b"GET /" + path + b" HTTP/1.1\r\n" + upgrade)
    assert said.startswith(b"HTTP/1.1 414 " if size < 16_000 else (b"HTTP/1.1 414 ", b"HTTP/1.1 400 "))
    long_header = b"Cookie: " + b"x" * size + b"\r\n"
    said = await until_closed(strict, b"GET /?key=a HTTP/1.1\r\n" + long_header + upgrade)
    assert said.startswith(b"HTTP/1.1 431 " if size < 16_000 else (b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


async def test_an_upgrade_with_a_good_head_still_works(strict: LocalServer) -> None:
    url = f"ws://{strict.host}:{strict.port}/?key={strict.key}&x={'x' * 8000}"
    async with connect(url) as socket:
        assert '"action":4' in str(await socket.recv())
