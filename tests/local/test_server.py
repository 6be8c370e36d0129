"""The server as programs hold it."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from typing import Any, cast

import anyio
import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import ably_ai_transport.local as package
from ably_ai_transport.local import Direction, Frame, LocalServer, LocalServerOptions, serve
from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import raw_client


async def test_nothing_is_left_behind() -> None:
    before = asyncio.all_tasks()
    async with LocalServer() as server:
        port = server.port
        async with raw_client(server, "alice") as client:
            await client.attach("c")
            server.faults.drop("alice")
            with pytest.raises(ConnectionClosed):
                await client.receive()
        async with raw_client(server) as client, httpx.AsyncClient(trust_env=False) as rest:
            await client.attach("c")
            await rest.get(f"{server.url}/time")
    assert asyncio.all_tasks() == before
    with pytest.raises(OSError, match=str(port)):
        await asyncio.open_connection("127.0.0.1", port)
    gc.collect()


async def test_open_connections_do_not_hold_up_the_end() -> None:
    async with LocalServer() as server:
        socket = await connect(f"ws://127.0.0.1:{server.port}/?key={server.key}")
        await socket.recv()
    with pytest.raises(ConnectionClosed):
        await socket.recv()


async def test_a_server_can_be_entered_again() -> None:
    server = LocalServer()
    for _ in range(2):
        async with server, raw_client(server) as client:
            await client.publish("c", {"data": "x"})
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


async def test_servers_do_not_share_anything() -> None:
    async with LocalServer() as one, LocalServer() as other:
        assert one.port != other.port
        assert one.key != other.key
        async with raw_client(one) as publisher, raw_client(other) as subscriber:
            await subscriber.attach("c")
            await publisher.publish("c", {"data": "x"})
            assert await subscriber.settled() == []


async def test_a_taken_port_is_an_error(server: LocalServer) -> None:
    with pytest.raises(OSError, match="in use"):
        async with LocalServer(LocalServerOptions(port=server.port)):
            pass


async def test_serve_runs_until_cancelled(unused_tcp_port: int) -> None:
    options = LocalServerOptions(port=unused_tcp_port, keys=("app.key:secret",))
    task = asyncio.create_task(serve(options))
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(retries=8), base_url=f"http://127.0.0.1:{unused_tcp_port}"
    ) as rest:
        assert (await rest.get("/time")).status_code == 200
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(OSError, match=str(unused_tcp_port)):
        await asyncio.open_connection("127.0.0.1", unused_tcp_port)


async def test_a_cancelled_block_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    port = 0
    with anyio.CancelScope() as scope:
        async with LocalServer() as server, raw_client(server) as client:
            port = server.port
            scope.cancel()
            await client.receive()
    assert scope.cancelled_caught
    assert asyncio.all_tasks() == before
    with pytest.raises(OSError, match=str(port)):
        await asyncio.open_connection("127.0.0.1", port)


async def test_the_app_can_be_mounted_elsewhere(unused_tcp_port: int) -> None:
    local = LocalServer(LocalServerOptions(keys=("app.key:secret",)))
    app = Starlette(routes=[Mount("/ably", local.app)])
    host = uvicorn.Server(
        uvicorn.Config(app, port=unused_tcp_port, lifespan="off", log_config=None, ws_ping_interval=None)
    )
    host.capture_signals = _no_signals  # type: ignore[method-assign]
    task = asyncio.create_task(host.serve())
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(retries=8), base_url=f"http://127.0.0.1:{unused_tcp_port}"
    ) as rest:
        assert (await rest.get("/ably/time")).status_code == 200
        url = f"ws://127.0.0.1:{unused_tcp_port}/ably/?key=app.key:secret"
        async with connect(url) as socket:
            assert json.loads(await socket.recv())["action"] == Action.CONNECTED
            await socket.send(
                json.dumps({"action": 15, "channel": "a/b", "msgSerial": 0, "messages": [{"data": "x"}]})
            )
            assert json.loads(await socket.recv())["action"] == Action.ACK
            page = await rest.get("/ably/channels/a%2Fb/messages?key=app.key:secret")
            assert [item["data"] for item in page.json()] == ["x"]
            local.faults.drop()
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    host.should_exit = True
    await task


def _no_signals() -> object:
    from contextlib import nullcontext

    return nullcontext()


async def test_stats_count(server: LocalServer) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("c", {"data": "1"}, {"data": "2"})
        await client.append("c", serial, "+")
        await client.publish("d", {"data": "3"})
        await client.settled()
        stats = server.stats.snapshot()
    assert stats["messages"] == 3
    assert stats["appends"] == 1
    assert stats["channels"] == 2
    assert stats["connections"] == stats["connections_opened"] == 1
    assert stats["frames_in"] == 4
    assert stats["frames_out"] == 5
    assert stats["bytes_in"] > 0
    assert stats["bytes_out"] > 0


async def test_frames_can_be_watched(server: LocalServer) -> None:
    seen: list[tuple[str, str, int]] = []
    frames: list[Frame] = []

    def watch(direction: Direction, label: str, frame: Frame) -> None:
        frames.append(frame)
        seen.append((direction, label, frame.get("action", -1)))

    server.on_frame(watch)
    async with raw_client(server, "alice", conn="label", format_="msgpack") as client:
        await client.attach("c")
        await client.publish("c", {"data": b"\x01"})
    assert seen == [
        ("s2c", "label", Action.CONNECTED),
        ("c2s", "label", Action.ATTACH),
        ("s2c", "label", Action.ATTACHED),
        ("c2s", "label", Action.MESSAGE),
        ("s2c", "label", Action.MESSAGE),
        ("s2c", "label", Action.ACK),
    ]
    assert frames[4].get("messages", [])[0].get("data") == b"\x01"


async def test_options_for_the_sdks(server: LocalServer) -> None:
    python = server.python_options("alice", use_binary_protocol=False)
    assert python == {
        "endpoint": f"127.0.0.1:{server.port}/",
        "tls": False,
        "client_id": "alice",
        "key": server.key,
        "use_token_auth": True,
        "default_token_params": {"client_id": "alice"},
        "use_binary_protocol": False,
    }
    assert "key" not in server.python_options(token="t")
    javascript = server.javascript_options("alice", transportParams={"conn": "x"})
    assert json.loads(json.dumps(javascript)) == {
        "endpoint": "127.0.0.1",
        "port": server.port,
        "tls": False,
        "clientId": "alice",
        "key": server.key,
        "transportParams": {"conn": "x"},
    }
    assert "key" not in server.javascript_options(authUrl="http://x")


async def test_small_frames_do_not_wait_for_each_other(server: LocalServer) -> None:
    async with raw_client(server):
        # There is no public way to the sockets.
        [connection] = cast("Any", server)._web._server.server_state.connections
        option = connection.transport.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY
        )
    assert option


async def test_idle_connections_outlive_the_pauses_of_clients(server: LocalServer) -> None:
    """A request that meets its connection as it closes fails with a hang-up."""
    config = cast("Any", server)._web._server.config  # There is no public way to it.
    assert config.timeout_keep_alive >= 60


def test_the_public_names() -> None:
    assert set(package.__all__) == {
        "ChannelStorage",
        "Clock",
        "ConnectionRecord",
        "Direction",
        "Faults",
        "Frame",
        "FrameObserver",
        "Limits",
        "LocalServer",
        "LocalServerOptions",
        "LogEntry",
        "MemoryStorage",
        "Namespace",
        "PresenceRecord",
        "Stats",
        "Storage",
        "StorageError",
        "StorageUnusableError",
        "SystemClock",
        "Timer",
        "WireMessage",
        "WirePresence",
        "serve",
    }


async def test_an_observer_that_fails_harms_no_client(
    server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(direction: str, label: str, frame: object) -> None:
        raise ValueError("broken observer")

    server.on_frame(fail)
    async with raw_client(server) as client:
        await client.publish("c", {"data": "x"})
    assert "a frame observer failed" in caplog.text
